"""Labelling from beginning to end: plan, units of work on some engine, one table. Interrupted, it goes on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from lara.data.frames.cache import cache_key
from lara.data.lam_inputs.label_columns import about_path, column, label_features, read_about
from lara.data.sources.lerobot import paths
from lara.data.sources.source import Source, frame_count
from lara.data.sources.validate import validate
from lara.data.sources.videos import is_lerobot
from lara.errors import ConfigError, DataError
from lara.label.dataset import open_for_labels
from lara.label.in_place import write_in_place
from lara.label.job import Job
from lara.label.local import run_local
from lara.label.on_ray import run_ray
from lara.label.plan import PLAN, keep_plan, plan_hash, units_of
from lara.label.sidecar import write_sidecar
from lara.label.table import finished_units, frames_of, total_counts
from lara.store.lock import only_one
from lara.store.records import read_json, write_json

_WRITING = "writing.json"


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How frames are labelled.

    Attributes:
        camera: of the dataset; None: the LAM's own where the dataset has one of that name, or the only one.
        gap: frames from now to the future; None: the LAM's own.
        prefix: of the columns.
        batch_size: frames per pass.
        precision: fp32 | bf16.
        device: cpu | cuda.
        threads: of torch, per worker.
        shard_frames: about so many frames are lost by a kill, at most.
        engine: local | ray.
        workers: processes (local: 0 is this one).
        address: of a running Ray.
    """

    camera: str | None = None
    gap: int | None = None
    prefix: str = "latent"
    batch_size: int = 32
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1
    shard_frames: int = 2048
    engine: Literal["local", "ray"] = "local"
    workers: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("precision", ("fp32", "bf16")),
            ("device", ("cpu", "cuda")),
            ("engine", ("local", "ray")),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"label.{name} is {'|'.join(choices)}, got {getattr(self, name)!r}")
        if min(self.batch_size, self.threads, self.shard_frames) < 1 or (self.gap is not None and self.gap < 1):
            raise ConfigError(
                "label.gap, batch_size, threads and shard_frames are positive; got "
                f"{self.gap}, {self.batch_size}, {self.threads}, {self.shard_frames}"
            )
        if not self.prefix or "/" in self.prefix:
            raise ConfigError(f"label.prefix names columns and is not empty, without '/'; got {self.prefix!r}")


def settings_of(config: Mapping[str, Any]) -> LabelSettings:
    """From a mapping. Raises ConfigError for unknown keys."""
    unknown = sorted(set(config) - {f.name for f in fields(LabelSettings)})
    if unknown:
        raise ConfigError(
            f"there is no setting label.{unknown[0]}; there are {[f.name for f in fields(LabelSettings)]}"
        )
    return LabelSettings(**config)


def label(
    *,
    lam: str | Path,
    dataset: str | Path,
    output: str | Path | None,
    in_place: bool = False,
    ema: bool = True,
    settings: LabelSettings | None = None,
) -> dict[str, Any]:
    """Labels every frame of a dataset with a LAM's latent actions.

    Args:
        lam: a run, checkpoint or exported folder.
        ema: the LAM's moving average, where it has one.
        dataset: a LeRobotDataset v3.0 or a folder of videos.
        output: the sidecar's folder; None with in_place=True, which adds the columns to the dataset. Finished units lie
            beside the output until the table stands; the same call finishes an interrupted one.
        in_place: adds the columns to the dataset itself.
        settings: None: the defaults.

    Returns:
        The record that is kept with the labels: `counts` of frames and pairs, `settings`, `lam`, `prefix`.

    Raises:
        ConfigError: for settings that fit neither LAM nor data.
        DataError: for faults of the dataset, and when the output exists with other labels.
    """

    from lara.serve.load import lam_facts, load_lam

    settings = settings or LabelSettings()
    dataset = Path(dataset)
    if in_place == (output is not None):
        raise ConfigError("give an output folder, or in_place=true without one")
    if in_place and not is_lerobot(dataset):
        raise ConfigError(
            f"{dataset} is a folder of videos, which has no table to add columns to; give an output folder"
        )
    model, saved = load_lam(lam, ema=ema)
    source = open_for_labels(dataset)
    view = _view(lam_facts(saved), settings, source, saved.config["system"]["lam"])
    validate(source, decode=False, cameras=[view["camera"]])
    work = dataset / f".lara-label-{settings.prefix}" if output is None else _beside(Path(output))
    with only_one(work, "labelling"):
        fingerprint = _fingerprint(work, source, view)
        about = _record(model, saved, source, settings, view=view, ema=ema, fingerprint=fingerprint)
        place = Path(output) if output is not None else dataset
        done_before = _labels_there(place, settings.prefix, source, in_place=in_place)
        if done_before is not None:
            same = done_before.get("plan") == about["plan"]
            if same or not (work / PLAN).exists():
                shutil.rmtree(work, ignore_errors=True)
            if same:
                return done_before
            raise DataError(f"{place} holds other labels '{settings.prefix}'; choose another output or label.prefix")
        (work / "units").mkdir(exist_ok=True)
        keep_plan(work, about)
        job = Job(
            lam=str(lam),
            ema=ema,
            dataset=str(dataset),
            **view,
            **_numeric(settings),
            plan=about["plan"],
            units=units_of([row.length for row in source.episodes], settings.shard_frames),
            folder=str(work / "units"),
        )
        counts = _run(job, source, settings)
        about["counts"] = total_counts([counts[k] for k in sorted(counts)], frame_count(source))
        codes = model.space.coder() is not None
        features = label_features(settings.prefix, queries=model.queries, dim=model.space.dim, codes=codes)
        if in_place:
            write_json(work / _WRITING, {"fingerprint": fingerprint})
            write_in_place(job, source, features, about)
        else:
            write_sidecar(job, source, features, about, place)
        shutil.rmtree(work, ignore_errors=True)
    return about


def _numeric(settings: LabelSettings) -> dict[str, Any]:
    """The settings on which the numbers depend, whatever engine computes them."""
    return {k: getattr(settings, k) for k in ("prefix", "batch_size", "precision", "device", "threads")}


def _record(
    model: Any,
    saved: Any,
    source: Source,
    settings: LabelSettings,
    *,
    view: Mapping[str, Any],
    ema: bool,
    fingerprint: str,
) -> dict[str, Any]:
    """What is kept with the labels, but for the counts; its `plan` is the hash of all that decides them."""
    import torch

    from lara.store.files import sha256_of

    manifest = sha256_of(saved.path / "manifest.json")
    weights = "moving average" if ema and saved.has_ema else "as saved"
    decides = {**view, **_numeric(settings), "shard_frames": settings.shard_frames, "torch": torch.__version__}
    lengths = [row.length for row in source.episodes]
    codes = model.space.coder()
    return {
        "format": 1,
        "plan": plan_hash(lam=manifest, weights=weights, fingerprint=fingerprint, settings=decides, lengths=lengths),
        "prefix": settings.prefix,
        "lam": {
            "name": saved.config.get("name", saved.name),
            "step": saved.step,
            "weights": weights,
            "manifest_sha256": manifest,
            "queries": model.queries,
            "dim": model.space.dim,
            "space": type(model.space).__name__,
            "codes": None if codes is None else codes.codes,
        },
        "dataset": {"fingerprint": fingerprint, "episodes": len(source.episodes), "frames": frame_count(source)},
        "settings": decides,
    }


def _run(job: Job, source: Source, settings: LabelSettings) -> dict[int, dict[str, int]]:
    counts = finished_units(job, source)
    left = [unit for unit in range(len(job.units)) if unit not in counts]
    before = sum(frames_of(job, source, unit) for unit in counts)
    if left and settings.engine == "ray":
        done = run_ray(job, left, settings.workers, settings.address)
    else:
        done = run_local(job, left, settings.workers if left else 0)
    with tqdm(total=frame_count(source), initial=before, desc="label", unit="frame", disable=None) as bar:
        for one in done if left else ():
            counts[one["unit"]] = one
            bar.update(one["frames"])
    return finished_units(job, source)


def _view(card: Mapping[str, Any], settings: LabelSettings, source: Source, lam: Mapping[str, Any]) -> dict[str, Any]:
    """Which pixels the model looks at: camera, size, fit and gap."""
    camera = settings.camera
    if camera is None:
        own = [c for c in card.get("lam_cameras", ()) if c in source.cameras]
        if len(own) != 1 and len(source.cameras) != 1:
            raise ConfigError(
                f"which camera of {', '.join(source.cameras)}? The LAM was trained on "
                f"{', '.join(card.get('lam_cameras', ())) or '(unknown)'}; say label.camera=..."
            )
        camera = own[0] if len(own) == 1 else source.cameras[0]
    source.files(camera)  # raises for a camera that is not there
    gap = settings.gap or card.get("frame_gap")
    if gap is None:
        raise ConfigError("this LAM was imported and does not know its frame gap; say label.gap=...")
    size = card.get("lam_image_size") or lam["encoder"].get("image_size")
    if size is None:
        raise ConfigError("this LAM does not say which image size it reads; set lam.encoder.image_size in its config")
    return {"camera": camera, "gap": int(gap), "size": int(size), "fit": card.get("image_fit", "square")}


def _fingerprint(work: Path, source: Source, view: Mapping[str, Any]) -> str:
    """Of the pixels. Adding columns rewrites the files that hold them where images lie in the tables: once that has
    begun, what was found before counts."""
    begun = work / _WRITING
    if begun.exists():
        return str(read_json(begun, DataError)["fingerprint"])
    return cache_key(source, view["camera"], view["size"], fit=view["fit"], folder=work)


def _labels_there(place: Path, prefix: str, source: Source, *, in_place: bool) -> dict[str, Any] | None:
    """The record of finished labels at their place, {} for something else that stands there, None for nothing."""
    if in_place:
        features = read_json(place / paths.INFO, DataError)["features"]
        if column(prefix, "z") not in features:
            return None
    elif not place.exists():
        return None
    return read_about(place, prefix) if (place / about_path(prefix)).exists() else {}


def _beside(output: Path) -> Path:
    return output.with_name(f".labelling-{output.name}")
