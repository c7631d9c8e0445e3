"""The probes' files of all models -> tables of numbers. Nothing is measured here."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lara.errors import DataError
from lara.lams.plan import Model

Number = float | None
SAME = 1e-3  # baselines of equal clips differ by rounding only


@dataclass(frozen=True, kw_only=True)
class Table:
    """rows: (label, one cell per column), a cell being one number per seed, None where it was not measured. baselines:
    how many of the last rows are not a model's. digits: shown after the point."""

    key: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[Number, ...], ...]], ...]
    baselines: int
    digits: int
    by_horizon: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """about: data, camera, k, horizons, clips, seeds, command, machine. reasons: label -> probe -> why it did not
    apply. records: the probes' own files, by model and seed."""

    about: dict[str, Any]
    tables: tuple[Table, ...]
    reasons: dict[str, dict[str, str]]
    records: dict[str, dict[str, dict[str, Any]]]

    def json(self) -> dict[str, Any]:
        """JSON-ready: cells as lists of one number per seed."""
        tables = {
            t.key: {
                "title": t.title,
                "note": t.note,
                "columns": list(t.columns),
                "rows": {n: list(c) for n, c in t.rows},
            }
            for t in self.tables
        }
        return {"about": self.about, "tables": tables, "not_applicable": self.reasons, "probes": self.records}


class _Runs:
    """The files of one model, one per seed, and what lies in them."""

    def __init__(self, label: str, records: Sequence[dict[str, Any]]) -> None:
        self.label, self.records = label, records

    def cell(self, probe: str, row: str, key: str, place: int | None = None) -> tuple[Number, ...]:
        """One number per seed: of one row of one probe, at one place where it is a list."""
        return tuple(_look(r["probes"], probe, row, key, place) for r in self.records)


def gather(
    models: Sequence[Model], done: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any], *, command: str
) -> Family:
    """done: of the runner, for the seconds. Raises DataError when two models were not asked on the same clips."""
    runs: dict[str, list[tuple[Model, dict[str, Any]]]] = {}
    for model in models:
        record = json.loads((model.probes / "probes.json").read_text())
        runs.setdefault(model.label, []).append((model, record))
    everything = [record for pairs in runs.values() for _, record in pairs]
    _require_same_clips(everything)
    loaded = [_Runs(label, [record for _, record in pairs]) for label, pairs in runs.items()]
    ks = [config["stride"] * (t + 1) for t in range(config["horizons"])]
    tables = [*_pictures(loaded, ks), *_laws(loaded, ks), _degeneration(loaded), _actions(loaded), _codes(loaded)]
    first = everything[0]
    about = {
        "command": command,
        "data": first["data"],
        "camera": first["camera"],
        "image_size": first["clips_of"]["image_size"],
        "held_out_episodes": first["held_out_episodes"],
        "k": config["stride"],
        "horizons": ks,
        "clips": config["clips"],
        "fit_clips": config["fit_clips"],
        "seeds": list(config["seeds"]),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "trainings side by side": config["workers"],
        },
    }
    return Family(
        about=about,
        tables=(*(t for t in tables if t.rows), _cost(runs, done)),
        reasons={
            label: pairs[0][1]["not_applicable"] for label, pairs in runs.items() if pairs[0][1]["not_applicable"]
        },
        records={label: {str(m.seed): r["probes"] for m, r in pairs} for label, pairs in runs.items()},
    )


def _pictures(runs: Sequence[_Runs], ks: Sequence[int]) -> list[Table]:
    kinds = (("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 3), ("lpips", "LPIPS", 3))
    out = []
    for key, title, digits in kinds:
        lines = [
            (f"{r.label}: {shown}", [r.cell("horizons", row, key, t) for t in range(len(ks))])
            for r in runs
            for row, shown in (("direct", "direct"), ("cumulative", "composed"), ("random z", "another's latent"))
        ]
        base = _baselines(runs, "horizons", ("copy frame", "pixel difference"), [(key, t) for t in range(len(ks))])
        note = (
            "direct: one latent from now to then. composed: k-step latents composed. another's latent: of another "
            "clip; as good as direct means that the decoder does not listen. pixel difference: 12 x 12, painted back."
        )
        columns = tuple(f"{k} steps" for k in ks)
        out.append(_table(key, f"Painting the future: {title}", note, columns, lines, base, digits, by_horizon=True))
    return [t for t in out if any(n is not None for _, cells in t.rows for cell in cells for n in cell)]


def _laws(runs: Sequence[_Runs], ks: Sequence[int]) -> list[Table]:
    out = []
    for law, title in (("additivity", "Do latents add up?"), ("reversal", "Do latents reverse?")):
        key = f"{law}_relative"
        lines = [
            (f"{r.label}{end}", [r.cell("algebra", row, key, t) for t in range(len(ks))])
            for r in runs
            for row, end in (("model", ""), ("random z", ": another's latent"))
        ]
        names = ("pixel difference", "the current frame itself", "the future frame itself")
        base = _baselines(runs, "algebra", names, [(key, t) for t in range(len(ks))])
        note = (
            f"{law} error / mean norm of the latent, in each space's own operation. 0 is the law, which the difference "
            "of pixels obeys without meaning anything."
        )
        out.append(_table(law, title, note, tuple(f"{k} steps" for k in ks), lines, base, 3, by_horizon=True))
    return out


def _degeneration(runs: Sequence[_Runs]) -> Table:
    keys = ("recon_target", "imagined_recon", "imagined_target", "imagined_second")
    lines = [
        (f"{r.label}{end}", [r.cell("degeneration", row, key) for key in keys])
        for r in runs
        for row, end in (("model", ""), ("random z", ": another's latent"))
    ]
    names = ("copy frame", "copy target", "pixel difference")
    base = _baselines(runs, "degeneration", names, [(key, None) for key in keys])
    note = (
        "Mean squared errors of pixels in [0, 1]. The latent of (0, k) applied at 0 gives recon, applied again at k "
        "gives imagined; columns 2 and 3 at 0 mean that it paints the target. second: the real frame at 2k."
    )
    columns = ("recon – target", "imagined – recon", "imagined – target", "imagined – second")
    return _table("degeneration", "A motion, or a picture of the target?", note, columns, lines, base, 5)


def _actions(runs: Sequence[_Runs]) -> Table:
    probes = ("linear", "mlp")
    lines = [
        (f"{r.label}{end}", [r.cell(probe, row, "r2") for probe in probes])
        for r in runs
        for row, end in (
            ("model", ""),
            ("model, after the bottleneck", ": after the bottleneck"),
            ("random z", ": another's latent"),
        )
    ]
    base = [
        (name, [_same(runs, probe, name, "r2") for probe in probes])
        for name in ("pixel difference", "current frame", "nothing")
    ]
    note = "R² of the k actions between the frames, fitted on training episodes, scored on held-out ones. 0: the mean."
    return _table("actions", "Are the actions in it?", note, ("linear probe", "MLP probe"), lines, base, 3)


def _codes(runs: Sequence[_Runs]) -> Table:
    lines = [
        (f"{r.label}{end}", [r.cell("codebook", row, key) for key in ("codes", "used", "perplexity")])
        for r in runs
        for row, end in (("model", ""), ("random z", ": uniform codes"))
        if any(n is not None for n in r.cell("codebook", row, "codes"))
    ]
    note = (
        "Over all held-out pairs. uniform codes: the most that so few pairs can show. Frames and pixels have no codes."
    )
    return _table("codebook", "The codebook", note, ("codes", "share used", "perplexity"), lines, [], 2)


def _cost(runs: Mapping[str, Sequence[tuple[Model, dict[str, Any]]]], done: Mapping[str, Mapping[str, Any]]) -> Table:
    lines = [
        (
            label,
            [
                tuple(float(record["step"]) for _, record in pairs),
                tuple(float(done[model.train.name]["seconds"]) for model, _ in pairs),
                tuple(float(record["parameters"]) for _, record in pairs),
            ],
        )
        for label, pairs in runs.items()
    ]
    note = "Seconds of the run that finished the training, on one thread beside the others; baselines cost nothing."
    return _table("cost", "What it cost", note, ("steps", "seconds of training", "parameters"), lines, [], 0)


def _table(
    key: str,
    title: str,
    note: str,
    columns: tuple[str, ...],
    lines: Sequence[tuple[str, Sequence[tuple[Number, ...]]]],
    base: Sequence[tuple[str, Sequence[Number]]],
    digits: int,
    *,
    by_horizon: bool = False,
) -> Table:
    rows = [(name, tuple(cells)) for name, cells in lines]
    rows += [(name, tuple((n,) for n in cells)) for name, cells in base]
    return Table(
        key=key,
        title=title,
        note=note,
        columns=columns,
        rows=tuple(rows),
        baselines=len(base),
        digits=digits,
        by_horizon=by_horizon,
    )


def _baselines(
    runs: Sequence[_Runs], probe: str, names: Sequence[str], places: Sequence[tuple[str, int | None]]
) -> list[tuple[str, list[Number]]]:
    return [(name, [_same(runs, probe, name, key, place) for key, place in places]) for name in names]


def _same(runs: Sequence[_Runs], probe: str, row: str, key: str, place: int | None = None) -> Number:
    """A baseline has no model in it: one number for all, or the clips were not the same."""
    found = [n for r in runs for n in r.cell(probe, row, key, place) if n is not None]
    if found and max(found) - min(found) > SAME * max(1.0, abs(found[0])):
        raise DataError(
            f"the baseline '{row}' of {probe} is {min(found):.4g} beside one model and {max(found):.4g} beside "
            "another: they were not asked on the same clips; delete the probe folders and run again"
        )
    return found[0] if found else None


def _look(probes: Mapping[str, Any], probe: str, row: str, key: str, place: int | None) -> Number:
    """None where the probe did not apply, the row does not exist or the number is not finite."""
    value = probes.get(probe, {}).get("rows", {}).get(row, {}).get(key)
    if place is not None:
        value = value[place] if value is not None and place < len(value) else None
    return None if value is None else float(value)


def _require_same_clips(records: Sequence[dict[str, Any]]) -> None:
    for what in ("data", "camera", "clips_of"):
        different = {json.dumps(record[what], sort_keys=True): record["checkpoint"] for record in records}
        if len(different) > 1:
            raise DataError(
                f"the models were not asked on the same clips: {what} differs between {list(different.values())[:2]}, "
                "and numbers side by side would mean nothing. Give them the same data, split, camera and image size"
            )
