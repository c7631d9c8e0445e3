"""What a field of a record on disk may be. JSON has fewer types than Python, and true is an int to Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lara.errors import LaraError


@dataclass(frozen=True)
class Field:
    """Attributes:
    expected: in words, for the message.
    fits: whether a value is one.
    """

    expected: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


TEXT = Field("a string", lambda v: type(v) is str)
TEXT_OR_NULL = Field("a string or null", lambda v: v is None or type(v) is str)
FLAG = Field("true or false", lambda v: type(v) is bool)
FLAG_OR_NULL = Field("true, false or null", lambda v: v is None or type(v) is bool)
COUNT = Field("a whole number of at least 0", lambda v: type(v) is int and v >= 0)
DURATION = Field("a finite number of at least 0", lambda v: _is_number(v) and v >= 0)
NUMBER_OR_NULL = Field("a finite number or null", lambda v: v is None or _is_number(v))


def check_fields(data: Any, fields: Mapping[str, Field], where: str, error: type[LaraError]) -> dict[str, Any]:
    """The record, which has exactly these fields, each of its kind.

    Args:
        data: as it came from JSON.
        fields: name -> what it may be.
        where: the file, and the line where there are several records in it ("episodes.jsonl:7").
        error: what to raise.

    Raises:
        LaraError: of the class `error`; names the place, the field, what was expected and what came.
    """
    if not isinstance(data, dict) or set(data) != set(fields):
        got = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise error(f"{where}: a record has the fields {sorted(fields)}, got {got}; restore the file from a copy")
    for name, field in fields.items():
        check_field(data[name], field, name, where, error)
    return data


def check_field(value: Any, field: Field, name: str, where: str, error: type[LaraError]) -> None:
    """Raises `error` as `check_fields` when one value is not of its kind."""
    if not field.fits(value):
        raise error(
            f"{where}: field '{name}': expected {field.expected}, got {value!r:.80} ({type(value).__name__}); "
            "restore the file from a copy"
        )
