"""The probes' files of all models -> tables of numbers. Nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lara.errors import DataError
from lara.probes.labels import ROWS
from lara.runs.book import Book
from lara.store.records import read_json
from lara.studies.lams import Model
from lara.studies.what_ran import machine

Number = float | None
Cell = tuple[Number, ...]  # one number per seed; None where it was not measured
SAME = 1e-3  # baselines of equal clips differ by rounding only


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row.

    Attributes:
        model: Key of its entry; None for a baseline, which has no model in it.
        row: Key of the probe's row.
        label: What is read.
        cells: One per column.
    """

    model: str | None
    row: str
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Models first, baselines last.

    Attributes:
        digits: Shown after the point.
        by_horizon: Whether the columns are horizons, so that the rows can be drawn as lines.
    """

    key: str
    title: str
    note: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    digits: int
    by_horizon: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """All models side by side.

    Attributes:
        about: Data, camera, k, horizons, clips, seeds, command, machine.
        labels: Key of a model -> what it is called.
        reasons: Key of a model -> probe -> why it did not apply.
        records: Key of a model -> seed -> what the probes wrote.
    """

    about: dict[str, Any]
    labels: dict[str, str]
    tables: tuple[Table, ...]
    reasons: dict[str, dict[str, str]]
    records: dict[str, dict[str, dict[str, Any]]]

    def json(self) -> dict[str, Any]:
        """JSON-ready. Rows are found by `model` and `row`; labels are for people."""
        tables = {
            t.key: {
                "title": t.title,
                "note": t.note,
                "columns": list(t.columns),
                "rows": [{**vars(line), "cells": [list(cell) for cell in line.cells]} for line in t.lines],
            }
            for t in self.tables
        }
        return {
            "about": self.about,
            "models": self.labels,
            "tables": tables,
            "not_applicable": self.reasons,
            "probes": self.records,
        }


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """One entry: its key, its label, its trainings and what was recorded of each."""

    key: str
    label: str
    models: tuple[Model, ...]
    records: tuple[dict[str, Any], ...]

    def cell(self, probe: str, row: str, key: str, place: int | None = None) -> Cell:
        """One number per seed: of one row of one probe, at one place where it is a list."""
        return tuple(_look(record["probes"], probe, row, key, place) for record in self.records)

    def line(self, row: str, cells: Sequence[Cell], said: str | None) -> Line:
        label = self.label if said is None else f"{self.label}: {said}"
        return Line(model=self.key, row=row, label=label, cells=tuple(cells))


def gather(models: Sequence[Model], book: Book, config: Mapping[str, Any], *, command: str) -> Family:
    """The tables of a finished study.

    Args:
        models: In the order of their rows.
        book: What each step took.
        config: conf/lams.yaml, resolved.
        command: As it was typed.

    Raises:
        DataError: Two models were not asked on the same clips.
    """
    runs = [_runs(key, models) for key in dict.fromkeys(model.entry.key for model in models)]
    everything = [record for r in runs for record in r.records]
    _require_same_clips(everything)
    ks = [config["stride"] * (t + 1) for t in range(config["horizons"])]
    tables = [*_pictures(runs, ks), *_laws(runs, ks), _degeneration(runs), _actions(runs), _codes(runs)]
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
        "machine": {**machine(), "trainings side by side": config["workers"]},
    }
    return Family(
        about=about,
        labels={r.key: r.label for r in runs},
        tables=(*(t for t in tables if t.lines), _cost(runs, book)),
        reasons={r.key: r.records[0]["not_applicable"] for r in runs if r.records[0]["not_applicable"]},
        records={
            r.key: {str(m.seed): record["probes"] for m, record in zip(r.models, r.records, strict=True)} for r in runs
        },
    )


def _runs(key: str, models: Sequence[Model]) -> _Runs:
    own = tuple(model for model in models if model.entry.key == key)
    records = tuple(read_json(model.probes / "probes.json", DataError) for model in own)
    return _Runs(key=key, label=own[0].entry.label, models=own, records=records)


def _pictures(runs: Sequence[_Runs], ks: Sequence[int]) -> list[Table]:
    kinds = (("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 3), ("lpips", "LPIPS", 3))
    places = range(len(ks))
    note = (
        "Direct: one latent from now to then. Composed: k-step latents composed. Another clip's latent as good as "
        "direct means that the decoder does not listen. Pixel difference: 12 x 12, painted back."
    )
    out = []
    for key, title, digits in kinds:
        lines = [
            r.line(row, [r.cell("horizons", row, key, t) for t in places], ROWS[row])
            for r in runs
            for row in ("direct", "cumulative", "other_latent")
        ]
        lines += _baselines(runs, "horizons", ("copy_frame", "pixel_difference"), [(key, t) for t in places])
        table = Table(
            key=key,
            title=f"Predicting the picture: {title}",
            note=note,
            columns=tuple(f"{k} steps" for k in ks),
            lines=tuple(lines),
            digits=digits,
            by_horizon=True,
        )
        if any(n is not None for line in lines for cell in line.cells for n in cell):
            out.append(table)
    return out


def _laws(runs: Sequence[_Runs], ks: Sequence[int]) -> list[Table]:
    out = []
    for law, title in (("additivity", "Do latents add up?"), ("reversal", "Do latents reverse?")):
        places = [(f"{law}_relative", t) for t in range(len(ks))]
        lines = [
            r.line(row, [r.cell("algebra", row, *place) for place in places], said)
            for r in runs
            for row, said in (("model", None), ("other_latent", ROWS["other_latent"]))
        ]
        lines += _baselines(runs, "algebra", ("pixel_difference", "current_frame", "future_frame"), places)
        note = (
            f"{law} error / mean norm of the latent, in each space's own operation. 0 is the law, which the difference "
            "of pixels obeys without meaning anything."
        )
        columns = tuple(f"{k} steps" for k in ks)
        out.append(
            Table(key=law, title=title, note=note, columns=columns, lines=tuple(lines), digits=3, by_horizon=True)
        )
    return out


def _degeneration(runs: Sequence[_Runs]) -> Table:
    keys = ("recon_target", "imagined_recon", "imagined_target", "imagined_second")
    lines = [
        r.line(row, [r.cell("degeneration", row, key) for key in keys], said)
        for r in runs
        for row, said in (("model", None), ("other_latent", ROWS["other_latent"]))
    ]
    names = ("copy_frame", "copy_target", "pixel_difference")
    lines += _baselines(runs, "degeneration", names, [(key, None) for key in keys])
    return Table(
        key="degeneration",
        title="A motion, or a picture of the target?",
        note="Mean squared errors of pixels in [0, 1]. The latent of (0, k) applied at 0 gives recon, applied again at "
        "k gives imagined; columns 2 and 3 at 0 mean that it paints the target. second: the real frame at 2k.",
        columns=("recon – target", "imagined – recon", "imagined – target", "imagined – second"),
        lines=tuple(lines),
        digits=5,
    )


def _actions(runs: Sequence[_Runs]) -> Table:
    probes = ("linear", "mlp")
    said = {"model": None, "after_bottleneck": "after the bottleneck", "other_latent": ROWS["other_latent"]}
    lines = [
        r.line(row, [r.cell(probe, row, "r2") for probe in probes], text) for r in runs for row, text in said.items()
    ]
    lines += [
        _baseline(row, [_same(runs, probe, row, "r2") for probe in probes])
        for row in ("pixel_difference", "current_frame", "nothing")
    ]
    return Table(
        key="actions",
        title="Are the actions in it?",
        note="R² of the k actions between the frames, fitted on training episodes, scored on held-out ones. 0: the "
        "mean.",
        columns=("linear probe", "MLP probe"),
        lines=tuple(lines),
        digits=3,
    )


def _codes(runs: Sequence[_Runs]) -> Table:
    keys = ("codes", "used", "perplexity")
    lines = [
        r.line(row, [r.cell("codebook", row, key) for key in keys], said)
        for r in runs
        for row, said in (("model", None), ("uniform_codes", ROWS["uniform_codes"]))
        if any(n is not None for n in r.cell("codebook", row, "codes"))
    ]
    return Table(
        key="codebook",
        title="The codebook",
        note="Over all held-out pairs. Codes drawn uniformly: the most that so few pairs can show. Frames and pixels "
        "have no codes.",
        columns=("codes", "share used", "perplexity"),
        lines=tuple(lines),
        digits=2,
    )


def _cost(runs: Sequence[_Runs], book: Book) -> Table:
    lines = [
        r.line(
            "model",
            [
                tuple(float(record["step"]) for record in r.records),
                tuple(book[model.training].seconds for model in r.models),
                tuple(float(record["parameters"]) for record in r.records),
            ],
            None,
        )
        for r in runs
    ]
    return Table(
        key="cost",
        title="What it cost",
        note="Seconds of training over all attempts, on one thread beside the others; baselines cost nothing.",
        columns=("steps", "seconds of training", "parameters"),
        lines=tuple(lines),
        digits=0,
    )


def _baselines(
    runs: Sequence[_Runs], probe: str, rows: Sequence[str], places: Sequence[tuple[str, int | None]]
) -> list[Line]:
    return [_baseline(row, [_same(runs, probe, row, key, place) for key, place in places]) for row in rows]


def _baseline(row: str, numbers: Sequence[Number]) -> Line:
    return Line(model=None, row=row, label=ROWS[row], cells=tuple((n,) for n in numbers))


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
