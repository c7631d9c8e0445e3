"""What a page consists of. Text is text: nothing in it is read as markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lara.pages.charts import Drawing


@dataclass(frozen=True)
class Code:
    """A command, path or key within a sentence or cell."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Strong:
    """Emphasis within a sentence or cell."""

    kind: ClassVar[str] = "strong"
    text: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A rate in [0, 1] with its interval, as a cell.

    Attributes:
        colour: A name of `palette`.
    """

    kind: ClassVar[str] = "bar"
    rate: float
    low: float
    high: float
    colour: str = "ours"


Inline = str | Code | Strong | Bar


@dataclass(frozen=True, init=False)
class Text:
    """A paragraph of strings, Code and Strong."""

    kind: ClassVar[str] = "text"
    parts: tuple[Inline, ...]

    def __init__(self, *parts: Inline) -> None:
        object.__setattr__(self, "parts", parts)


class Note(Text):
    """A paragraph in small print: what a table means, and what it does not."""

    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Subheading:
    kind: ClassVar[str] = "subheading"
    text: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Scrolls sideways within its box where the screen is narrow.

    Attributes:
        numeric: Indices of the columns that are set flush right.
        muted: Indices of the rows that stand back (baselines).
    """

    kind: ClassVar[str] = "table"
    headers: Sequence[str]
    rows: Sequence[Sequence[Inline]]
    numeric: Sequence[int] = ()
    muted: Sequence[int] = ()


@dataclass(frozen=True)
class Figures:
    """Large numbers, each with what it is: (number, meaning)."""

    kind: ClassVar[str] = "figures"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Charts:
    """Drawings side by side, one below the other where the screen is narrow. One legend where they share it."""

    kind: ClassVar[str] = "charts"
    drawings: Sequence[Drawing]

    @property
    def shared(self) -> bool:
        return len({drawing.legend for drawing in self.drawings}) == 1


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG.

    Attributes:
        caption: Also read to those who do not see it.
        pixels: Its pixels are data and are not smoothed; on a narrow screen it scrolls instead of shrinking.
    """

    kind: ClassVar[str] = "picture"
    png: bytes
    caption: str
    pixels: bool = False


@dataclass(frozen=True, kw_only=True)
class Video:
    """An mp4 file, read when the page is written."""

    kind: ClassVar[str] = "video"
    path: Path
    caption: str


@dataclass(frozen=True)
class Row:
    """Pictures or videos side by side."""

    kind: ClassVar[str] = "row"
    items: Sequence[Picture | Video]


Block = Text | Subheading | Table | Figures | Charts | Picture | Video | Row


@dataclass(frozen=True, init=False)
class Section:
    """A titled box."""

    title: str
    blocks: tuple[Block, ...]

    def __init__(self, title: str, *blocks: Block) -> None:
        object.__setattr__(self, "title", title)
        object.__setattr__(self, "blocks", blocks)


@dataclass(frozen=True, kw_only=True)
class Page:
    """One file.

    Attributes:
        title: Of the browser's tab.
        heading: The first line, large.
        lead: What one should know before the sections.
    """

    title: str
    heading: str
    lead: Sequence[Block]
    sections: Sequence[Section]
