from __future__ import annotations

from lara.evaluation.tables import interval, markdown_table, percent, plain_table


def test_plain_columns_line_up():
    text = plain_table(("task", "%"), [["a", "5.0"], ["longer", "100.0"]])
    assert text.splitlines() == ["task        %", "------  -----", "a         5.0", "longer  100.0"]


def test_markdown_has_one_cell_per_header_and_pipes_are_escaped():
    lines = markdown_table(("task", "%"), [["a|b", "1"]]).splitlines()
    assert lines == ["| task | % |", "| :--- | ---: |", "| a\\|b | 1 |"]


def test_nothing_measured_is_a_dash():
    assert (percent(None), percent(0.925)) == ("-", "92.5")
    assert (interval(None, None), interval(0.5, 1.0)) == ("-", "[50.0, 100.0]")
