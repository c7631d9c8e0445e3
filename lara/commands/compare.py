"""Pairs the episodes of two evaluations of the same protocol.

  lara compare outputs/eval_lara outputs/eval_dit_only [alpha=0.05]

The verdict may be UNDECIDED: with few episodes most true differences cannot be told from luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

CONFIG = ""


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError
    from lara.evaluation.compare import COMPARE_HEADERS, compare
    from lara.evaluation.tables import plain_table

    runs = [a for a in arguments if not a.startswith("alpha=")]
    alphas = [a.removeprefix("alpha=") for a in arguments if a.startswith("alpha=")]
    if len(runs) != 2 or len(alphas) > 1:
        raise ConfigError(f"expected two run folders and at most one alpha=, got {list(arguments)}")
    result = compare(Path(runs[0]), Path(runs[1]), alpha=_alpha(alphas[0]) if alphas else 0.05)
    print(f"A = {runs[0]}\nB = {runs[1]}\n")
    print(plain_table(COMPARE_HEADERS, result["rows"]))
    print(
        f"\n{result['pairs']} paired episodes, only A succeeded in {result['only_a']}, only B in {result['only_b']}; "
        f"exact McNemar p = {result['p_exact']:.3g} (mid-p {result['p_mid']:.3g})\n"
        f"verdict at alpha = {result['alpha']}: {result['verdict']}"
    )
    return 0


def _alpha(text: str) -> float:
    from lara.errors import ConfigError

    try:
        alpha = float(text)
    except ValueError:
        alpha = math.nan
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha is a number between 0 and 1 (both excluded), got {text!r}")
    return alpha
