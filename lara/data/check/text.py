"""An examination as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from lara.data.check.examine import Examination, TaskShare
from lara.data.robot import RobotCard
from lara.data.sources.source import Finding, Source

PLACES, TASKS, NAMES = 3, 20, 16  # so many are listed; of more, their number is said


def about(source: Source) -> Iterator[str]:
    """What the dataset is."""
    frames = sum(episode.length for episode in source.episodes)
    yield (
        f"{source.root}: {len(source.episodes):,} episodes, {frames:,} frames at {source.fps:g} fps "
        f"({frames / source.fps / 60:.1f} min), {len(source.tasks):,} instructions"
    )
    seen = [f"{camera} {source.shapes[camera][1]}x{source.shapes[camera][0]}" for camera in source.cameras]
    yield f"cameras: {listed(seen) or 'none'}"
    without = "none: for stages that learn from frames and words (a LAM, RotVLA II)"
    yield f"actions: {listed(source.action_names) or without}"
    yield f"state: {listed(source.state_names) or 'none'}"


def robot_lines(card: RobotCard, assumed: Sequence[str]) -> Iterator[str]:
    """What is known of the robot, and what is taken to be so. assumed: see `data.robot.derived_card`."""
    action = card.action
    if action.dim:
        yield f"robot: {printable(card.name)}, {action.rate_hz:g} actions per second"
        yield (
            f"  control={action.control} rotation={action.rotation} gripper={action.gripper}: if the robot means "
            "otherwise, a policy would move it wrongly"
        )
    for line in assumed:
        yield f"  {printable(line)}"


def findings_table(findings: Sequence[Finding], *, root: Path, width: int) -> Iterator[str]:
    """One row per severity and kind, errors first: severity, kind, count, where (below `root`), what."""
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.severity, finding.kind].append(finding)
    if not groups:
        return

    def brief(words: str) -> str:
        return printable(words.replace(f"{root}/", ""))

    rows = []
    for (severity, kind), same in sorted(groups.items(), key=lambda item: item[0][0] != "error"):
        places = list(dict.fromkeys(finding.where for finding in same))
        more = [f"and {len(places) - PLACES} more"] if len(places) > PLACES else []
        where = [brief(place) for place in places[:PLACES]] + more
        rows.append((severity, printable(kind), f"{sum(f.count for f in same):,}", where, brief(same[0].said)))
    yield from _columns(("severity", "kind", "count", "where", "what"), rows, width)


def _columns(header: Sequence[str], rows: Sequence[tuple[str, str, str, list[str], str]], width: int) -> Iterator[str]:
    """The first three columns as wide as they must be, the last two share what is left."""
    left = [max(len(header[c]), *(len(row[c]) for row in rows)) for c in range(3)]
    rest = max(width - sum(left) - 8, 48)
    place = min(max(len("where"), *(len(line) for row in rows for line in row[3])), rest // 2)
    sizes = [*left, place, rest - place]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(n) if c == 2 else cell.ljust(n) for c, (cell, n) in enumerate(zip(cells, sizes, strict=True))
        ]
        return "  ".join(padded).rstrip()

    yield line(header)
    yield "  ".join("-" * size for size in sizes)
    for severity, kind, count, where, said in rows:
        places = [piece for one in where for piece in textwrap.wrap(one, place) or [""]]
        words = textwrap.wrap(said, sizes[4]) or [""]
        for k in range(max(len(places), len(words))):
            first = (severity, kind, count) if k == 0 else ("", "", "")
            yield line((*first, *(some[k] if k < len(some) else "" for some in (places, words))))


def shares_table(examination: Examination, *, width: int) -> Iterator[str]:
    """Episodes and frames per instruction, for training and held out."""
    shares = examination.shares
    shown = [(printable(s.task) or "(no words)", *s.episodes, *s.frames) for s in shares[:TASKS]]
    if len(shares) > TASKS:
        rest = shares[TASKS:]
        shown.append((f"and {len(rest):,} more", *_totals(rest)))
    if len(shares) > 1:
        shown.append(("all", *_totals(shares)))
    size = min(max([len(row[0]) for row in shown], default=0), max(width - 60, 24))
    yield f"{'':{size}}  {'episodes':>19} {'frames':>25}"
    yield f"{'instruction':{size}}  {'training':>9} {'held out':>9} {'training':>12} {'held out':>12}"
    for text, *counts in shown:
        name = text if len(text) <= size else text[: size - 3] + "..."
        yield f"{name:{size}}  {counts[0]:>9,} {counts[1]:>9,} {counts[2]:>12,} {counts[3]:>12,}"


def remark_lines(examination: Examination, *, width: int) -> Iterator[str]:
    """What normalising will do, one paragraph each."""
    for remark in examination.remarks:
        yield from textwrap.wrap(printable(remark), max(width, 60), subsequent_indent="  ")


def verdict(examination: Examination) -> str:
    """The last line."""
    errors, unusual = examination.count("error"), examination.count("unusual")
    beside = f"{unusual} unusual" if unusual else "nothing unusual"
    if errors:
        return f"verdict: {errors} kind{'s' * (errors > 1)} of error, {beside}: training refuses this dataset"
    return f"verdict: no errors, {beside}: ready to train on"


def listed(names: Sequence[str]) -> str:
    """ "2 (x, y)"; a latent has too many numbers to name them all."""
    more = ", ..." if len(names) > NAMES else ""
    return f"{len(names)} ({', '.join(map(printable, names[:NAMES]))}{more})" if names else ""


def printable(text: str) -> str:
    """On one line, and without what could steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def _totals(shares: Sequence[TaskShare]) -> tuple[int, int, int, int]:
    pairs = [(*share.episodes, *share.frames) for share in shares]
    a, b, c, d = (sum(column) for column in zip(*pairs, strict=True))
    return a, b, c, d
