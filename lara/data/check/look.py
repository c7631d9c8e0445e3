"""One dataset looked at: what it is, what is wrong or unusual, who is held out, a verdict."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from lara.data.check import text
from lara.data.check.examine import examine
from lara.data.check.opened import fixed, looked_at, opened, views_of
from lara.data.robot import derived_card


def look(data: Mapping[str, Any], *, decode: bool, fix: bool) -> int:
    """Prints what is to be said of one dataset's configuration; 0, or 2 where training would refuse it."""
    source = opened(data)
    if fix:
        print("\n".join(fixed(data["root"], source.root)))
    width = shutil.get_terminal_size((120, 24)).columns
    for line in (*text.about(source), *text.robot_lines(*derived_card(source, data.get("robot")))):
        print(line)
    found = examine(
        source,
        cameras=looked_at(source, views_of(data)),
        decode=decode,
        validation_fraction=data["split"]["validation_fraction"],
        seed=data["seed"],
        max_episodes_per_task=data["split"]["max_episodes_per_task"],
        modes=(data["action_normalizer"], data["state_normalizer"]),
    )
    print("", *text.shares_table(found, width=width), "", sep="\n")
    table = text.findings_table(found.findings, root=source.root, width=width)
    for line in (*table, *text.remark_lines(found, width=width), text.verdict(found)):
        print(line)
    return 2 if found.count("error") else 0
