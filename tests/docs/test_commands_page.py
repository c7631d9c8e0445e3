"""The page of commands says what the program says."""

import re
from pathlib import Path

from lara.cli import COMMANDS, EXIT_CODES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text()


def _rows(first: str) -> list[tuple[str, str]]:
    """(first, second cell) of the table under a heading cell."""
    table = PAGE.split(f"| {first} |", 1)[1].split("\n\n", 1)[0]
    cells = [re.split(r"(?<!\\)\|", line)[1:3] for line in table.splitlines()[2:]]
    return [tuple(cell.strip().replace("\\|", "|") for cell in row) for row in cells]


def test_every_command_has_its_line_and_no_other():
    assert _rows("command") == [(f"`lara {name}`", text) for name, text in COMMANDS.items()]


def test_every_exit_code_has_its_line_and_no_other():
    assert _rows("code") == [(str(code), text) for code, text in EXIT_CODES.items()]
