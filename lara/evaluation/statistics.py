"""Success counts -> intervals, tests, verdicts, summaries. Exact where that is cheap; numpy and the standard library.

An interval says how far a rate could be from what was measured; a paired test says whether two policies on the SAME
episodes differ. With few episodes both answer "cannot tell" most of the time, and `Verdict.UNDECIDED` is that answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from statistics import NormalDist
from typing import Any

import numpy as np

from lara.errors import ConfigError, DataError
from lara.evaluation.records import EpisodeRecord


class Verdict(Enum):
    A_BETTER = "A_BETTER"
    B_BETTER = "B_BETTER"
    UNDECIDED = "UNDECIDED"


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (1927), in [0, 1]. The default for display."""
    _check(successes, n, level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the formula gives 0 and 1 exactly, up to rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval (Clopper and Pearson 1934), conservative: coverage is at least `level` for every true rate.

    Each end solves "the observed tail has probability (1 - level)/2" by bisection to full float precision.
    """
    _check(successes, n, level)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _bisect(lambda p: _upper_tail(successes, n, p) < tail)
    high = 1.0 if successes == n else _bisect(lambda p: 1 - _upper_tail(successes + 1, n, p) > tail)
    return low, high


def newcombe_difference(a: int, n_a: int, b: int, n_b: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of rate_a - rate_b for INDEPENDENT episodes (Newcombe 1998, method 10), in [-1, 1]."""
    p, q = a / n_a, b / n_b
    (l_p, u_p), (l_q, u_q) = wilson(a, n_a, level), wilson(b, n_b, level)
    return (
        p - q - math.hypot(p - l_p, u_q - q),
        p - q + math.hypot(u_p - p, q - l_q),
    )


def newcombe_paired_difference(
    both: int, only_a: int, only_b: int, neither: int, level: float = 0.95
) -> tuple[float, float]:
    """Interval of rate_a - rate_b for the SAME episodes (Newcombe 1998b, method 10), in [-1, 1].

    The four counts say in how many episodes both, only a, only b, or neither succeeded. Shared luck of an episode
    narrows it through phi, the correlation of the two outcomes.
    """
    n = both + only_a + only_b + neither
    a, b = both + only_a, both + only_b
    p, q = a / n, b / n
    (l_p, u_p), (l_q, u_q) = wilson(a, n, level), wilson(b, n, level)
    margins = a * (n - a) * b * (n - b)
    cross: float = both * neither - only_a * only_b
    # Newcombe's continuity correction applies to a positive association only.
    if cross > 0:
        cross = max(cross - n / 2, 0)
    phi = cross / math.sqrt(margins) if margins else 0.0

    def half(d: float, e: float) -> float:
        return math.sqrt(max(d * d - 2 * phi * d * e + e * e, 0.0))

    return p - q - half(p - l_p, u_q - q), p - q + half(u_p - p, q - l_q)


def mcnemar(only_a: int, only_b: int) -> tuple[float, float]:
    """(exact p, mid-p), two-sided, for paired outcomes: under equality each discordant pair is a fair coin.

    The exact p keeps its level always; mid-p is less conservative and keeps it nearly always (Fagerland 2013).
    """
    if min(only_a, only_b) < 0:
        raise DataError(f"counts of pairs cannot be negative, got {only_a} and {only_b}")
    n, k = only_a + only_b, min(only_a, only_b)
    cumulative = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    point = math.comb(n, k) / 2**n
    exact = min(1.0, 2 * cumulative)
    mid = 1 - point / 2 if only_a == only_b else 2 * cumulative - point
    return exact, mid


def verdict(only_a: int, only_b: int, alpha: float = 0.05) -> Verdict:
    """Which policy is better at level alpha by the exact paired test, or UNDECIDED."""
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha must lie in (0, 1), got {alpha}")
    if mcnemar(only_a, only_b)[0] >= alpha:
        return Verdict.UNDECIDED
    return Verdict.A_BETTER if only_a > only_b else Verdict.B_BETTER


def summarise(records: Sequence[EpisodeRecord], tiers: Mapping[str, str], level: float = 0.95) -> dict[str, Any]:
    """Success rates per task, per tier and overall, from the episodes that ended without an error.

    A tier's rate is the mean of its tasks' rates; `mean_of_tiers` is the headline of MT50 papers, `mean_of_tasks` ours.
    Where nothing was measured, rates are None. Intervals are Wilson's over pooled episodes.

    Args:
        records: one of each episode.
        tiers: {task: tier} for every task of the benchmark that may occur; its order is the order of the tables.
        level: of the intervals, in (0, 1).

    Returns:
        {"episodes", "errors", "tasks": {task: {tier, successes, n, rate, low, high}}, "tiers": {tier: {tasks,
            successes, n, rate, low, high}}, "overall": {successes, n, rate, low, high, mean_of_tasks, mean_of_tiers}},
            rates in [0, 1].

    Raises:
        DataError: records of a task that is in no tier.
    """
    strangers = sorted({r.task for r in records} - set(tiers))
    if strangers:
        raise DataError(f"records of tasks that the benchmark does not have: {strangers}")
    measured = [r for r in records if r.error is None]
    names = [t for t in tiers if any(r.task == t for r in records)]
    tasks = {t: {"tier": tiers[t], **_rate([r for r in measured if r.task == t], level)} for t in names}
    groups: dict[str, Any] = {}
    for tier in dict.fromkeys(tiers[t] for t in names):
        members = [t for t in names if tiers[t] == tier]
        pooled = _rate([r for r in measured if tiers[r.task] == tier], level)
        groups[tier] = {"tasks": len(members), **pooled, "rate": _mean([tasks[t]["rate"] for t in members])}
    return {
        "episodes": len(records),
        "errors": len(records) - len(measured),
        "tasks": tasks,
        "tiers": groups,
        "overall": {
            **_rate(measured, level),
            "mean_of_tasks": _mean([t["rate"] for t in tasks.values()]),
            "mean_of_tiers": _mean([g["rate"] for g in groups.values()]),
        },
    }


def _rate(records: Sequence[EpisodeRecord], level: float) -> dict[str, Any]:
    n, successes = len(records), sum(bool(r.success) for r in records)
    if n == 0:
        return {"successes": 0, "n": 0, "rate": None, "low": None, "high": None}
    low, high = wilson(successes, n, level)
    return {"successes": successes, "n": n, "rate": successes / n, "low": low, "high": high}


def _mean(rates: Sequence[float | None]) -> float | None:
    """None when a part is missing: a mean over what happens to be there is another quantity."""
    known = [r for r in rates if r is not None]
    return sum(known) / len(known) if known and len(known) == len(rates) else None


def _upper_tail(k: int, n: int, p: float) -> float:
    """P(X >= k), X ~ Binomial(n, p), for 0 < p < 1."""
    x = np.arange(k, n + 1)
    choose = math.lgamma(n + 1) - np.array([math.lgamma(i + 1) + math.lgamma(n - i + 1) for i in x])
    return float(min(1.0, np.exp(choose + x * math.log(p) + (n - x) * math.log1p(-p)).sum()))


def _bisect(below: Any) -> float:
    """The p in (0, 1) where `below(p)` turns from True to False."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def _check(successes: int, n: int, level: float) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"expected 0 <= successes <= n with n >= 1, got {successes} of {n}")
    if not 0 < level < 1:
        raise ConfigError(f"a confidence level lies in (0, 1), got {level}")
