"""A joint run of tests.tiny's system on disk, with the configuration that builds it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lara.config.build import build
from lara.store.checkpoint import write_checkpoint
from lara.train.parts import part_paths
from lara.train.versions import versions
from tests.tiny import ACTION, HORIZON, SIZE, STATE

VQ = {"_target_": "lara.latents.vq.VQSpace", "dim": 8, "codes": 16}
ADDITIVE = {"_target_": "lara.latents.additive.AdditiveSpace", "dim": 8}


def _partial(target: str, **settings: Any) -> dict[str, Any]:
    return {"_target_": target, "_partial_": True, **settings}


def lam_config(space: dict[str, Any] = VQ) -> dict[str, Any]:
    return {
        "_target_": "lara.lam.model.LatentActionModel",
        "queries": 2,
        "encoder": {
            "_target_": "lara.lam.encoders.patches.PatchEncoder",
            "image_size": SIZE,
            "patch": 16,
            "width": 32,
        },
        "former": _partial("lara.lam.former.MFormer", width=32, heads=4, layers=1),
        "space": space,
        "decoder": _partial(
            "lara.lam.decoders.pixel.PixelDecoder", image_size=SIZE, patch=8, width=32, heads=4, layers=1
        ),
    }


def policy_config() -> dict[str, Any]:
    return {
        "_target_": "lara.policy.policy.Policy",
        "backbone": {
            "_target_": "lara.policy.backbones.compact.CompactBackbone",
            "views": 1,
            "image_size": SIZE,
            "patch": 16,
            "width": 32,
        },
        "adapter": _partial("lara.policy.adapter.SelfAttentionAdapter", heads=4),
        "expert": _partial(
            "lara.policy.expert.FlowExpert",
            width=32,
            heads=4,
            blocks=4,
            layout={"_target_": "lara.policy.tokens.StateAction", "horizon": HORIZON},
            action_dim=ACTION,
            state_dim=STATE,
            slots=3,
        ),
    }


def joint_run(output: Path, *, space: dict[str, Any] = VQ, gap: int = 4, camera: str = "top") -> Path:
    """<output>/checkpoints/step-00000003 of a policy, a LAM and an alignment; returns `output`."""
    config = {
        "_target_": "lara.systems.lara.Lara",
        "policy": policy_config(),
        "lam": lam_config(space),
        "coupling": {
            "_target_": "lara.systems.couplings.alignment.Alignment",
            "objective": _partial("lara.losses.alignment.RawCosine"),
        },
    }
    torch.manual_seed(0)
    system = build(config)
    write_checkpoint(
        output,
        step=3,
        tensors={"system": system.state_dict(), "optimizer": {}, "rng": {}},
        records={
            "config": {"name": "tiny", "system": config, "data": {"root": "x", "frames": None}},
            "parts": part_paths(system),
            "train": {"step": 3},
            "optimizer": {},
            "data": {
                "frame_gap": gap,
                "fps": 10.0,
                "lam_cameras": [camera],
                "lam_image_size": SIZE,
                "image_fit": "square",
            },
            "versions": versions(torch.device("cpu"), 1),
        },
        keep_last=1,
    )
    return output


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def video_folder(root: Path, lengths: tuple[int, ...] = (7, 11, 3), *, fps: float = 10.0) -> Path:
    """<root>/clips/00k.mp4 of so many frames each."""
    import numpy as np

    from lara.data.frames.encode import VideoStorage, encode_video
    from tests.data.worlds import picture

    (root / "clips").mkdir(parents=True)
    for k, length in enumerate(lengths):
        images = np.stack([picture(k, t, 0) for t in range(length)])
        encode_video(root / "clips" / f"{k:03d}.mp4", images, fps=fps, storage=VideoStorage(codec="h264"))
    return root
