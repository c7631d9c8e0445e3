"""The tables of `lara show`: what a configuration is, as text."""

from __future__ import annotations

from typing import Any

from lara.evaluation.tables import plain_table
from lara.inspect.footprint import Footprint, measure, without_lam

GIB = 2**30


def describe(config: dict[str, Any]) -> str:
    """Terms and weights, parts, shapes, the tapped block, memory and FLOPs of a resolved conf/train.yaml.

    Raises:
        LaraError: What building the system and applying the stage raise.
    """
    m = measure(config)
    return "\n".join(
        [
            f"stage {m.stage}: {m.steps:,} steps of {m.samples} samples; terms and weights at step 0:",
            plain_table(("term", "weight"), [[k, "off" if v is None else f"{v:g}"] for k, v in m.weights.items()]),
            "",
            plain_table(("part", "class", "parameters", "learning", ""), _parts(m)),
            "",
            plain_table(("tensor", "shape of one micro-batch"), [[k, v] for k, v in m.shapes.items()]),
            "",
            f"alignment taps {m.tap}" if m.tap else "no alignment",
            "",
            plain_table(("memory of one device", "GiB"), _memory(m, config)),
            f"\nFLOPs per step: {m.flops / 1e12:.4g} TFLOP ({m.flops / m.samples / 1e9:.4g} GFLOP per sample)"
            + ("; the image-text model in it is estimated as 2 x parameters x tokens" if m.estimated else ""),
        ]
    )


def _parts(m: Footprint) -> list[list[str]]:
    rows = [
        [
            part.name,
            part.kind,
            f"{part.parameters:,}",
            f"{part.learning:,}",
            "learns" if part.learning else "frozen" if part.parameters else "-",
        ]
        for part in m.parts
    ]
    total, learning = (sum(getattr(part, which) for part in m.parts) for which in ("parameters", "learning"))
    return [*rows, ["all", "", f"{total:,}", f"{learning:,}", ""]]


def _memory(m: Footprint, config: dict[str, Any]) -> list[list[str]]:
    rows = [[name, f"{size / GIB:.3f}"] for name, size in m.memory.items()]
    rows.append(["sum", f"{sum(m.memory.values()) / GIB:.3f}"])
    if m.peak is None:
        return rows
    rows.append(["peak of a step", f"{m.peak / GIB:.3f}"])
    alone = without_lam(config)
    peak_alone = None if alone is None else measure(alone).peak
    if peak_alone is not None:
        rows.append(["  of it for LAM and alignment", f"{(m.peak - peak_alone) / GIB:.3f}"])
    return rows
