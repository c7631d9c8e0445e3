"""One recorded episode as a page: what the cameras saw, and what the robot was told and was."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lara.pages.blocks import Block, Charts, Code, Note, Page, Picture, Row, Section, Subheading, Table, Text
from lara.pages.charts import Line, Panel, draw

POINTS = 600  # of a line; of longer ones the extremes of each stretch are drawn, so that no spike is lost
PIXELS = 320  # width of a frame on the page
PANELS = 64


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One episode.

    Attributes:
        name: Of the episode, for the heading.
        command: What shows this page again.
        facts: Anything known about it, by name.
        shots: Of each camera, in order of time: ((h, w, 3) uint8 image, number of the frame, seconds).
        seconds: (T,).
        action, state: (T, A) and (T, S), NaN where there is no number.
        action_names, state_names: A and S names. A name in both is drawn as one chart.
    """

    name: str
    command: str
    facts: Mapping[str, str]
    shots: Mapping[str, Sequence[tuple[np.ndarray, int, float]]]
    seconds: np.ndarray
    action: np.ndarray
    state: np.ndarray
    action_names: Sequence[str]
    state_names: Sequence[str]


def episode_page(recording: Recording) -> Page:
    """Raises MissingExtraError without matplotlib, where there are numbers to draw."""
    facts = Table(headers=["", ""], rows=[[name, value] for name, value in recording.facts.items()])
    sections = [Section("What it is", facts), Section("What the cameras saw", *_sheets(recording))]
    if recording.action_names or recording.state_names:
        sections.append(Section("Actions and state", *_charts(recording)))
    return Page(
        title=recording.name,
        heading=recording.name,
        lead=[Text("Made by ", Code(recording.command), ".")],
        sections=sections,
    )


def _sheets(recording: Recording) -> list[Block]:
    blocks: list[Block] = []
    for camera, shots in recording.shots.items():
        pictures = [
            Picture(png=_png(image), caption=f"{camera}: frame {frame}, {seconds:.2f} s")
            for image, frame, seconds in shots
        ]
        blocks += [Subheading(camera), Row(pictures)]
    return blocks or [Note("No camera.")]


def _charts(recording: Recording) -> list[Block]:
    columns: dict[str, dict[str, np.ndarray]] = {}
    for kind, names, values in (
        ("action", recording.action_names, recording.action),
        ("state", recording.state_names, recording.state),
    ):
        for d, name in enumerate(names):
            columns.setdefault(name, {}).setdefault(kind, values[:, d])
    colours = {"action": "ours", "state": "reference"}
    panels = [
        Panel(
            title=name,
            lines=[_line(kind, recording.seconds, values, colours[kind]) for kind, values in kinds.items()],
            xlabel="seconds",
        )
        for name, kinds in list(columns.items())[:PANELS]
    ]
    left_out = len(columns) - len(panels)
    blocks: list[Block] = [
        Note("In the numbers and units of the dataset, as they are stored and before any normalising.")
    ]
    for kinds in (("action", "state"), ("action",), ("state",)):
        same = [panel for panel in panels if tuple(line.label for line in panel.lines) == kinds]
        if same:
            blocks += [Subheading(" and ".join(kinds)), Charts(draw(same))]
    if left_out:
        blocks.append(Note(f"{left_out} more are not drawn."))
    return blocks


def _line(label: str, seconds: np.ndarray, values: np.ndarray, colour: str) -> Line:
    keep = _kept(values)
    y = [float(v) if np.isfinite(v) else None for v in values[keep]]
    return Line(label=label, x=seconds[keep].tolist(), y=y, colour=colour, width=1.2)


def _kept(values: np.ndarray) -> np.ndarray:
    """Which points are drawn: all, or the lowest and the highest of each stretch."""
    if len(values) <= POINTS:
        return np.arange(len(values))
    shown = np.where(np.isfinite(values), values, np.inf)
    kept = set()
    for stretch in np.array_split(np.arange(len(values)), POINTS // 2):
        low = stretch[int(np.argmin(shown[stretch]))]
        high = stretch[int(np.argmax(np.where(np.isinf(shown[stretch]), -np.inf, shown[stretch])))]
        kept |= {int(low), int(high)}
    return np.array(sorted(kept))


def _png(image: np.ndarray) -> bytes:
    picture = Image.fromarray(image)
    if picture.width > PIXELS:
        height = max(round(picture.height * PIXELS / picture.width), 1)
        picture = picture.resize((PIXELS, height), Image.Resampling.BOX)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()
