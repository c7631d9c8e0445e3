"""`key=value` as a person means it: what hydra's grammar would refuse or take for a sweep is the text that was typed.

hydra reads values with a grammar of its own, in which "=", brackets, commas, quotes and most of Unicode mean something.
A value that it understands (a number, true, null, a list, a dict, plain or quoted words) stays hydra's to read; every
other value is put in quotes here and arrives character by character. There are no sweeps in lara, so `a,b` is text too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

# "+", "++" or nothing, a key or group (with @package), "=", anything; "~key" drops and is left alone
_ASSIGNMENT = re.compile(r"(\+{0,2}[^=~+\s][^=\s]*)=(.*)", re.S)


def literal(override: str) -> str:
    """The override with a value that hydra reads as the text that was typed; "~/x" begins at the home folder."""
    found = _ASSIGNMENT.fullmatch(override)
    if not found:
        return override
    key, value = found.groups()
    value = os.path.expanduser(value)
    return f"{key}={value if _understood(value) else _quoted(value)}"


def key_of(override: str) -> str:
    """ "experiment" of "experiment@_global_=x", "a.b" of "+a.b=1", "c" of "~c"."""
    return re.split(r"[=@]", override.lstrip("+~"), maxsplit=1)[0]


def shown(key: str, values: Sequence[Any]) -> str:
    """A list as it is typed in a shell: 'tasks=[a,"b c"]' with its quotes."""
    words = [str(v) if _understood(str(v)) and not re.search(r"\s", str(v)) else f'"{v}"' for v in values]
    return f"'{key}=[{','.join(words)}]'"


def _understood(value: str) -> bool:
    """Whether hydra reads it as one value. Its parser raises HydraException for what it cannot read."""
    from hydra.errors import HydraException

    try:
        return not _parser().parse_override(f"key={value}").is_sweep_override()
    except HydraException:
        return False


@cache
def _parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def _quoted(value: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text=value, quote=Quote.single).with_quotes()
