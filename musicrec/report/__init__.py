"""One self-contained HTML page about an OUT: what went in, what came out, and how far to trust it."""

from musicrec.report.page import write_report

__all__ = ["write_report"]
