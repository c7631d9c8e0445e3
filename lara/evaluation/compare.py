"""Two runs of one protocol, episode by episode: which policy is better, and how sure can one be?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lara.errors import ConfigError, DataError
from lara.evaluation.protocol import Protocol, protocol_differences, protocol_from_dict
from lara.evaluation.records import EpisodeRecord, read_records
from lara.evaluation.sealed import require_sealed
from lara.evaluation.statistics import mcnemar, newcombe_paired_difference, verdict, wilson
from lara.evaluation.tables import interval, percent
from lara.store.plain import decoding
from lara.store.records import read_json

COMPARE_HEADERS = ("task", "A %", "B %", "only A", "only B", "A - B", "95 % interval")


def compare(run_a: Path, run_b: Path, *, alpha: float = 0.05) -> dict[str, Any]:
    """Pairs the episodes of two run folders (protocol.json, episodes.jsonl) by (task, episode).

    Args:
        run_a, run_b: folders of two finished evaluations.
        alpha: level of the verdict, in (0, 1).

    Returns:
        {"protocol", "a", "b": {successes, n, rate, low, high}, "pairs", "both", "only_a", "only_b", "neither",
            "difference", "difference_low", "difference_high", "p_exact", "p_mid", "alpha", "verdict", "rows"} where
            rows fit under `COMPARE_HEADERS`.

    Raises:
        ConfigError: for different protocols.
        DataError: for an incomplete run.
    """
    protocol_a, records_a = _load(Path(run_a))
    protocol_b, records_b = _load(Path(run_b))
    if protocol_a.hash != protocol_b.hash:
        raise ConfigError(
            f"{run_a} and {run_b} measured different things and cannot be compared "
            f"(protocols {protocol_a.hash} and {protocol_b.hash}):\n  "
            + "\n  ".join(protocol_differences(protocol_a, protocol_b))
            + "\nRun both under one protocol."
        )
    keys = protocol_a.work()
    rows = []
    for task in protocol_a.decided_tasks():
        counts = _pairs([k for k in keys if k[0] == task], records_a, records_b)
        rows.append(_row(task, counts))
    counts = _pairs(keys, records_a, records_b)
    rows.append(_row("all episodes", counts))
    both, only_a, only_b, neither = counts
    n = len(keys)
    low, high = newcombe_paired_difference(*counts)
    exact, mid = mcnemar(only_a, only_b)
    return {
        "protocol": protocol_a.hash,
        "a": _side(both + only_a, n),
        "b": _side(both + only_b, n),
        "pairs": n,
        "both": both,
        "only_a": only_a,
        "only_b": only_b,
        "neither": neither,
        "difference": (only_a - only_b) / n,
        "difference_low": low,
        "difference_high": high,
        "p_exact": exact,
        "p_mid": mid,
        "alpha": alpha,
        "verdict": verdict(only_a, only_b, alpha).value,
        "rows": rows,
    }


def _load(run: Path) -> tuple[Protocol, dict[tuple[str, int], EpisodeRecord]]:
    path = run / "protocol.json"
    if not path.exists():
        raise DataError(f"{run} is not the folder of an evaluation run: it has no protocol.json")
    require_sealed(run)
    record = read_json(path, DataError)
    with decoding(path, DataError):
        protocol = protocol_from_dict(record)
    records = {r.key: r for r in read_records(run / "episodes.jsonl")}
    missing = [k for k in protocol.work() if k not in records]
    errors = [k for k, r in records.items() if r.error is not None]
    if missing or errors:
        raise DataError(
            f"{run} is incomplete: {len(missing)} of {len(protocol.work())} episodes did not run and {len(errors)} "
            f"ended in an error (first: {(missing + errors)[0]}); run it again with the same settings to finish it"
        )
    return protocol, records


def _pairs(
    keys: list[tuple[str, int]],
    a: dict[tuple[str, int], EpisodeRecord],
    b: dict[tuple[str, int], EpisodeRecord],
) -> tuple[int, int, int, int]:
    outcomes = [(bool(a[k].success), bool(b[k].success)) for k in keys]
    return (
        outcomes.count((True, True)),
        outcomes.count((True, False)),
        outcomes.count((False, True)),
        outcomes.count((False, False)),
    )


def _side(successes: int, n: int) -> dict[str, Any]:
    low, high = wilson(successes, n)
    return {"successes": successes, "n": n, "rate": successes / n, "low": low, "high": high}


def _row(name: str, counts: tuple[int, int, int, int]) -> list[str]:
    both, only_a, only_b, neither = counts
    n = both + only_a + only_b + neither
    return [
        name,
        percent((both + only_a) / n),
        percent((both + only_b) / n),
        str(only_a),
        str(only_b),
        f"{100 * (only_a - only_b) / n:+.1f}",
        interval(*newcombe_paired_difference(*counts)),
    ]
