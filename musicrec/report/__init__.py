"""The report: one self-contained HTML page about OUT, with its input, its results and how reliable they are."""

from musicrec.report.page import write_report

__all__ = ["write_report"]
