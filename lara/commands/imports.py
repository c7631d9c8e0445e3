"""What others made -> what this project reads. Nothing of it is executed.

  lara import moto path=path/to/released_folder output=outputs/moto [encoder=/path/to/mae.safetensors] [pixels=unit]
  lara import hdf5 path=path/to/libero_goal output=data/libero_goal [images=flip] [storage=h264] [fps=20]
                   [task='open the drawer'] [state='[ee_states,joint_states]']

moto: a released Moto or LARA latent motion tokenizer -> a checkpoint of this project.

encoder: the frozen MAE ViT as timm exports it; downloaded when not given. pixels: "imagenet" unless the checkpoint was
trained on pixels in [0, 1] ("unit", LARA's stage 1 alone). The result starts a stage (stage.load={lam: outputs/moto})
and can be probed with another run's data (lara probe checkpoint=outputs/moto data_of=outputs/my_run output=...).

hdf5: demonstrations of LIBERO or robomimic, a file or a folder -> a LeRobotDataset v3.0. images: rotate (for LIBERO
unless given: by 180 degrees, as its public conversions and evaluations do, which mirrors the scene), flip (upright and
not mirrored) or keep (for others unless given). storage: av1 unless given, h264 or png. Stopped, the same command goes
on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIG = ""
HDF5 = (
    "lara import hdf5 path=FILE_OR_FOLDER output=FOLDER [images=rotate|flip|keep] [storage=av1|h264|png] [fps=20] "
    "[task=WORDS] [state=[OBSERVATION,...]]"
)


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError

    options = dict(a.split("=", 1) for a in arguments if "=" in a)
    formats = [a for a in arguments if "=" not in a]
    if formats == ["hdf5"]:
        print("\n".join(_demonstrations(options)))
        return 0
    unknown = sorted(set(options) - {"path", "output", "encoder", "pixels"})
    pixels = options.get("pixels", "imagenet")
    if formats != ["moto"] or unknown or not {"path", "output"} <= set(options) or pixels not in ("imagenet", "unit"):
        raise ConfigError(
            "expected: lara import moto path=RELEASED output=FOLDER [encoder=MAE.safetensors] [pixels=imagenet|unit], "
            f"or {HDF5}; got {' '.join(arguments) or '(nothing)'}"
        )
    paths, encoder = (Path(options["path"]), Path(options["output"])), options.get("encoder", "hub")
    print(imported(*paths, encoder=encoder, unit_pixels=pixels == "unit"))
    return 0


def _demonstrations(options: dict[str, str]) -> list[str]:
    from lara.data.convert.robosuite import convert
    from lara.data.frames.encode import ImageStorage, VideoStorage
    from lara.errors import ConfigError

    storages: dict[str, VideoStorage | ImageStorage] = {
        "av1": VideoStorage(),
        "h264": VideoStorage(codec="h264"),
        "png": ImageStorage(),
    }
    known = {"path", "output", "images", "storage", "fps", "task", "state"}
    images, storage, fps = options.get("images"), options.get("storage", "av1"), options.get("fps", "")
    wrong = images not in (None, "rotate", "flip", "keep") or storage not in storages or not set(options) <= known
    number = re.fullmatch(r"([1-9]\d{0,3}(\.\d{1,6})?)?", fps, re.ASCII)
    if wrong or number is None or not {"path", "output"} <= set(options):
        raise ConfigError(f"expected: {HDF5}; got {' '.join(f'{k}={v}' for k, v in options.items()) or '(nothing)'}")
    names = options["state"].strip("[]").split(",") if "state" in options else None
    return convert(
        Path(options["path"]),
        Path(options["output"]),
        storage=storages[storage],
        images=images,  # type: ignore[arg-type]
        fps=float(fps) if fps else None,
        task=options.get("task"),
        state=None if names is None else [name.strip() for name in names],
    )


def imported(source: Path, output: Path, *, encoder: str = "hub", unit_pixels: bool = False) -> Path:
    """Writes <output>/checkpoints/step-00000000 and returns it. Raises CheckpointError when `source` does not fit or
    `output` already holds a checkpoint."""
    import torch

    from lara.config.build import build
    from lara.errors import CheckpointError
    from lara.lam.moto import IMAGENET_MEAN, IMAGENET_STD, load_moto, moto_config
    from lara.lam.moto_files import read_tensors
    from lara.store.checkpoint import step_folders, write_checkpoint
    from lara.systems.lam import LamSystem
    from lara.train.parts import part_paths
    from lara.train.versions import versions

    if step_folders(output / "checkpoints"):
        raise CheckpointError(f"{output} already holds a checkpoint; give another output folder")
    pixels: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    if not unit_pixels:
        pixels = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    config = moto_config(source, **pixels)
    config["encoder"]["weights"] = encoder
    read_tensors(source)  # what is wrong with them is said before an encoder is fetched
    lam = load_moto(source, encoder=build(config["encoder"], "model"), **pixels)
    system = LamSystem(lam=lam)
    # the checkpoint holds the encoder's weights too: who loads it need not download them again
    config["encoder"]["weights"] = "random"
    return write_checkpoint(
        output,
        step=0,
        tensors={"system": system.state_dict(), "optimizer": {}, "rng": {}},
        records={
            "config": {
                "name": output.name,
                "imported_from": str(source),
                "system": {"_target_": "lara.systems.lam.LamSystem", "lam": config},
            },
            "parts": part_paths(system),
            "train": {"step": 0},
            "optimizer": {},
            "data": {},
            "versions": versions(torch.device("cpu"), 1),
        },
        keep_last=1,
    )
