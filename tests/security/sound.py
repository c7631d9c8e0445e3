"""Small sound folders, written file by file as an attacker would: a hostile one is a copy with one thing changed."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from lara.config.build import build
from lara.train.parts import part_paths

SECRET = "a-secret-of-this-machine-51f0"
SIZE = 16


def _partial(target, **settings):
    return {"_target_": target, "_partial_": True, **settings}


SYSTEM = {
    "_target_": "lara.systems.lara.Lara",
    "policy": {
        "_target_": "lara.policy.policy.Policy",
        "backbone": {
            "_target_": "lara.policy.backbones.compact.CompactBackbone",
            "views": 1,
            "image_size": SIZE,
            "patch": 8,
            "width": 16,
        },
        "adapter": _partial("lara.policy.adapter.SelfAttentionAdapter", heads=2),
        "expert": _partial(
            "lara.policy.expert.FlowExpert",
            width=16,
            heads=2,
            blocks=2,
            layout={"_target_": "lara.policy.tokens.StateAction", "horizon": 2},
            action_dim=3,
            state_dim=2,
            slots=1,
        ),
    },
    "lam": {
        "_target_": "lara.lam.model.LatentActionModel",
        "queries": 1,
        "encoder": {"_target_": "lara.lam.encoders.patches.PatchEncoder", "image_size": SIZE, "patch": 8, "width": 16},
        "former": _partial("lara.lam.former.MFormer", width=16, heads=2, layers=1),
        "space": {"_target_": "lara.latents.vq.VQSpace", "dim": 4, "codes": 4},
        "decoder": _partial(
            "lara.lam.decoders.pixel.PixelDecoder", image_size=SIZE, patch=8, width=16, heads=2, layers=1
        ),
    },
    "coupling": None,
}


@dataclass(frozen=True)
class World:
    """Where a hostile folder lives. canary: what an attack would make. secret: a file that is nobody's business."""

    root: Path
    run: Path
    step: Path
    evaluation: Path
    videos: Path
    canary: Path
    secret: Path


def make(root: Path) -> World:
    """A run with a policy and a LAM, a finished evaluation, a folder for videos, a secret beside them."""
    torch.manual_seed(0)
    system = build(SYSTEM)
    step = root / "run" / "checkpoints" / "step-00000001"
    step.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in system.state_dict().items()}, step / "system.safetensors")
    for name in ("optimizer", "rng"):
        save_file({}, step / f"{name}.safetensors")
    records = {
        "config": {"name": "sound", "system": SYSTEM, "data": {"root": "x", "lam": None}, "embodiments": {"dot": 0}},
        "parts": part_paths(system),
        "train": {"step": 1},
        "optimizer": {},
        "data": {"embodiments": {"dot": card()}},
        "versions": {"lara": "0"},
    }
    for name, record in records.items():
        (step / f"{name}.json").write_text(json.dumps(record))
    sign(step)
    (root / "run" / "checkpoints" / "latest").write_text("step-00000001\n")
    (root / "videos").mkdir()
    (root / "secret.txt").write_text(f"key: {SECRET}: x\n")
    _evaluation(root / "evaluation")
    _export(root / "lam", system)
    return _world(root)


def copy(sound: World, root: Path) -> World:
    """The same in another place."""
    shutil.copytree(sound.root, root, dirs_exist_ok=True)
    return _world(root)


def sign(folder: Path, kind: str | None = None) -> None:
    """A manifest that fits whatever the files are now: whoever changes them can do that too."""
    files = {
        p.name: {"sha256": hashlib.sha256(p.read_bytes()).hexdigest(), "bytes": p.stat().st_size}
        for p in sorted(folder.iterdir())
        if p.is_file() and not p.is_symlink() and p.name != "manifest.json"
    }
    manifest = {"schema": 1, "files": files} | ({"kind": kind} if kind else {})
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _world(root: Path) -> World:
    return World(
        root=root,
        run=root / "run",
        step=root / "run" / "checkpoints" / "step-00000001",
        evaluation=root / "evaluation",
        videos=root / "videos",
        canary=root / "canary",
        secret=root / "secret.txt",
    )


def card() -> dict:
    """The data card of one robot."""

    def statistics(dim):
        rows = {name: [0.0] * dim for name in ("min", "mean", "q01")} | {n: [1.0] * dim for n in ("max", "std", "q99")}
        return {**rows, "count": 9}

    action = {"names": list("xyz"), "control": "delta", "rotation": "none", "gripper": "none"}
    action |= {"low": [-1.0] * 3, "high": [1.0] * 3, "rate_hz": 10.0}
    seen = {"cameras": ["top"], "state": ["x", "y"]}
    return {
        "robot": {"name": "dot", "action": action, "observation": seen},
        "statistics": {"action": statistics(3), "state": statistics(2)},
        "action_normalizer": "mean_std",
        "state_normalizer": "mean_std",
        "horizon": 2,
        "frame_gap": 2,
        "fps": 10.0,
        "cameras": ["top"],
        "image_size": SIZE,
        "views": 1,
        "image_fit": "square",
        "lam_cameras": ["top"],
        "lam_image_size": SIZE,
        "action_dim_max": 3,
        "state_dim_max": 2,
        "embodiment": "dot",
        "slot": 0,
        "instructions": ["reach"],
        "actions": {"_target_": "lara.data.actions.in_order.InOrder"},
    }


PROTOCOL = {
    "benchmark": "toy",
    "tasks": ["reach-red"],
    "episodes": 1,
    "goal_seed": 0,
    "policy_seed": 0,
    "max_steps": 5,
    "settle_steps": 0,
    "success_mode": "first",
    "cameras": ["top"],
    "image_size": SIZE,
    "camera_positions": {},
    "render_profile": "fast",
    "execute": 1,
    "state": ["x", "y"],
    "instruction": "own",
    "versions": {"toy": "1"},
}
RECORD = {"task": "reach-red", "episode": 0, "success": True, "steps": 3}
RECORD |= {"seconds": 0.1, "error": None, "clipped": 0, "replans": 3}


def _evaluation(folder: Path) -> None:
    folder.mkdir()
    (folder / "protocol.json").write_text(json.dumps(PROTOCOL))
    (folder / "episodes.jsonl").write_text(line(RECORD))
    for name in ("policy.json", "summary.json"):
        (folder / name).write_text("{}")
    (folder / "table.md").write_text("")
    sign(folder, kind="evaluation")


def line(record: dict) -> str:
    """One line of episodes.jsonl, with the checksum that it has since lines have one."""
    from lara.evaluation import records

    if hasattr(records, "CHECKSUM"):
        record = {**record, records.CHECKSUM: records._checksum(record)}
    return json.dumps(record) + "\n"


def _export(folder: Path, system: torch.nn.Module) -> None:
    """What `lara export lam` writes."""
    folder.mkdir()
    tensors = {k: v.contiguous() for k, v in system.state_dict().items() if k.startswith("lam.")}
    save_file(tensors, folder / "model.safetensors")
    card = {"format": 1, "what": "lam", "from": {"step": 1, "weights": "last step", "run": "sound", "system": "x"}}
    card |= {"parts": {"lam": "lam"}, "data": {"frame_gap": 2}, "versions": {}}
    config = {"name": "sound", "system": {**SYSTEM, "policy": None}}
    for name, record in (("config", config), ("card", card)):
        (folder / f"{name}.json").write_text(json.dumps(record))
    sign(folder, kind="export")
