"""Finished units -> the label columns of one episode after the other, and their statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lara.data.lam_inputs.label_columns import column, from_arrow
from lara.data.sources.lerobot.stats import vector_stats
from lara.data.sources.source import Source
from lara.errors import LaraError
from lara.label.job import Job
from lara.label.shard import read_unit, unit_counts

_DIMS = 16  # columns of z whose statistics are computed at once


def finished_units(job: Job, source: Source) -> dict[int, dict[str, int]]:
    """Unit -> its counts, for the units whose file is there. Raises DataError for files of other work."""
    found = {}
    for unit in range(len(job.units)):
        counts = unit_counts(Path(job.folder), job.plan, unit, frames_of(job, source, unit))
        if counts is not None:
            found[unit] = counts
    return found


def frames_of(job: Job, source: Source, unit: int) -> int:
    return sum(source.episodes[k].length for k in range(*job.units[unit]))


def total_counts(counts: Sequence[dict[str, int]], frames: int) -> dict[str, int]:
    """Sums over all units. Raises LaraError unless every frame was decoded and encoded exactly once."""
    total = {key: sum(c[key] for c in counts) for key in ("frames", "decoded", "encoded", "pairs")}
    if not total["frames"] == total["decoded"] == total["encoded"] == frames:
        raise LaraError(f"every one of {frames} frames must be decoded and encoded once, counted {total}")
    return total


def episode_tables(job: Job, source: Source) -> Iterator[tuple[int, pa.Table]]:
    """(episode, its label columns), in order; one unit is in memory at a time."""
    for unit, (first, end) in enumerate(job.units):
        table, row = read_unit(Path(job.folder), unit), 0
        for k in range(first, end):
            length = source.episodes[k].length
            yield k, table.slice(row, length).combine_chunks()
            row += length


def z_stats(job: Job, source: Source, scratch: Path) -> dict[str, Any]:
    """Statistics of z over all real pairs, exact, as meta/stats.json wants them; {} when no pair is real.

    scratch: a folder for the numbers, which need not fit into memory.
    """
    z_name, mask_name = column(job.prefix, "z"), column(job.prefix, "mask")
    path, rows, width = scratch / "z.bin", 0, 0
    with open(path, "wb") as file:
        for _, table in episode_tables(job, source):
            z = from_arrow(table[z_name])
            real = z.reshape(len(z), -1)[from_arrow(table[mask_name])]
            file.write(real.tobytes())
            rows, width = rows + len(real), real.shape[1]
    if not rows:
        return {}
    values = np.memmap(path, np.float32, mode="r", shape=(rows, width))
    blocks = [vector_stats(np.asarray(values[:, k : k + _DIMS])) for k in range(0, width, _DIMS)]
    del values
    path.unlink()
    stats = {key: [x for block in blocks for x in block[key]] for key in blocks[0]}
    return {z_name: {**stats, "count": [rows]}}
