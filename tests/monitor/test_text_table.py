"""Tables for a terminal, line by line as a reader sees them."""

import doctest

import pytest

from musicrec.monitor import text_table as module
from musicrec.monitor.text_table import text_table


def test_text_stands_left_numbers_right_and_nothing_trails():
    rows = [(1, "one", 0.5, "1.2 MB", "–"), (10, None, 0.25, "900 kB", "3"), (100, "three", -1.0, "5 B", "12")]
    assert text_table(("n", "name", "score", "size", "rows"), rows).splitlines() == [
        "  n  name    score    size  rows",
        "  1  one     0.500  1.2 MB     –",
        " 10          0.250  900 kB     3",
        "100  three  -1.000     5 B    12",
    ]


@pytest.mark.parametrize("text", ["00002-ab12", "2026-11-29 04:00", "80s", "1 of 2", "x"])
def test_what_only_begins_like_a_number_is_text(text):
    assert text_table(("a long name", "b"), [(text, 1)]).splitlines()[1] == f"{text:<11}  1"


def test_a_column_without_name_and_content_is_left_out():
    assert text_table(("a", "", ""), [("x", "", "y")]).splitlines() == ["a", "x  y"]


def test_no_rows_leave_the_head():
    assert text_table(("a", "b"), []) == "a  b"


def test_a_title_cannot_command_the_terminal():
    assert text_table(("title",), [("\x1b[2Jsong\n",)]).splitlines() == ["title", "?[2Jsong?"]


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"zip\(\) argument"):
        text_table(("a", "b"), [("x",), ("y", "z")])


def test_the_example_is_true():
    assert doctest.testmod(module).failed == 0
