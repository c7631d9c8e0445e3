"""What a normaliser will do that a person should know before training: dimensions that rest, stand still, are cut."""

from __future__ import annotations

from collections.abc import Sequence

from lara.data.actions.normalize import CLIP, Mode, Normalizer, Statistics, resting
from lara.errors import DataError

LOUD = 20.0  # standard deviations of an extreme, from which its squared error outweighs hundreds of ordinary ones
FAULTS = "If the extremes are faults, remove their episodes"


def remarks(statistics: Statistics, mode: Mode, names: Sequence[str]) -> list[str]:
    """One sentence per dimension about which there is something to say; nothing about ordinary ones.

    Args:
        statistics: of D numbers, in robot units.
        mode: of the `Normalizer` that will be made of them.
        names: D names, for the sentences.

    Raises:
        DataError: another number of names.
    """
    if len(names) != statistics.dim:
        raise DataError(f"remarks on {statistics.dim} dimensions need as many names, got {len(names)}")
    if mode == "identity":
        return []
    normalizer, rests = Normalizer(statistics, mode), resting(statistics)
    said = []
    for d, name in enumerate(names):
        low, high, q01, q99 = statistics.min[d], statistics.max[d], statistics.q01[d], statistics.q99[d]
        offset, scale = float(normalizer.offset[d]), float(normalizer.scale[d])
        far = max(high - offset, offset - low) / scale
        where = f"{name} is within {_span(q01, q99)} in 98 % of the frames and reaches {_span(low, high)}: "
        if high - low <= 1e-6 * max(1e-3, abs(low), abs(high)):
            said.append(f"{name} never moves ({low:.6g}): it is shifted to 0 and not scaled")
        elif mode == "mean_std" and far > LOUD:
            said.append(
                f"{where}its extremes become {far:.3g} standard deviations. {FAULTS}; quantile would bound them"
            )
        elif mode == "min_max" and rests[d]:
            share = 100 * (q99 - q01) / (high - low)
            said.append(f"{where}98 % of its values will lie within {share:.2g} % of [-1, 1]. {FAULTS}")
        elif mode == "quantile" and rests[d]:
            said.append(f"{where}it is scaled by all of that, or its extremes would drown everything else. {FAULTS}")
        elif mode == "quantile" and far > CLIP:
            cut = _span(offset - CLIP * scale, offset + CLIP * scale)
            said.append(
                f"{where}what lies outside {cut} is learned as its border. If the extremes are meant, use min_max or "
                "mean_std"
            )
    return said


def _span(low: float, high: float) -> str:
    """With digits enough to tell the ends apart."""
    digits = 4
    while digits < 9 and low != high and f"{low:.{digits}g}" == f"{high:.{digits}g}":
        digits += 1
    return f"[{low:.{digits}g}, {high:.{digits}g}]"
