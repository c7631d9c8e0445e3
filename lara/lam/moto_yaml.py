"""YAML of a released tokenizer as plain data: no tag runs anything, nothing stands for something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lara.errors import CheckpointError

DEEPEST = 20
LONGEST = 1000  # characters of one value


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML brings no types
    """SafeLoader without aliases (nine lines of them hold a billion values), deep nesting and endless numbers."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not read", event.start_mark)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise yaml.composer.ComposerError(None, None, f"a value exceeds {LONGEST} characters", event.start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {DEEPEST}", event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def parse_yaml(content: bytes, path: Path) -> Any:
    """Dicts, lists, strings, numbers. Raises CheckpointError, which says where but not what: see `lara.store.plain`."""
    try:
        return _PlainLoader(content.decode("utf-8")).get_single_data()
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        ours = f"{error.problem}" if isinstance(error, yaml.composer.ComposerError) else type(error).__name__
        raise CheckpointError(f"{path}: not readable as plain data{where} ({ours})") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as plain data ({type(error).__name__})") from None
