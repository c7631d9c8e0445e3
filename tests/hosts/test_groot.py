"""GR00T's heads and backbone against the vendors' own classes, run in their own environments (marker `hosts`).

`make test-hosts` makes both; these name other ones:
LARA_HOSTS_PYTHON   a python with lerobot 0.4.4 and diffusers (N1.5)
LARA_HOSTS17_PYTHON a python (3.12 or newer) with lerobot 0.6 and its transformers and diffusers (N1.7)
LARA_HOSTS_QWEN_PYTHON a python with transformers 4.57, the last major version that N1.7 was released for
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lara.losses.flow import velocity_mse
from lara.policy.hosts.groot.expert import GrootHead
from lara.policy.hosts.groot.model import Groot
from lara.policy.hosts.groot.vlm import VLTokens
from lara.types import Observation

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("vendor_groot.py")
OLD = os.environ.get("LARA_HOSTS_PYTHON") or str(ROOT / ".venv-hosts/bin/python")
NEW = os.environ.get("LARA_HOSTS17_PYTHON") or str(ROOT / ".venv-hosts17/bin/python")
QWEN = os.environ.get("LARA_HOSTS_QWEN_PYTHON") or str(ROOT / ".venv-hosts-qwen/bin/python")
TOLERANCE = 1e-4
SIZES = {
    "heads": 4,
    "head_dim": 8,
    "blocks": 6,
    "hidden": 24,
    "horizon": 6,
    "action_dim": 7,
    "state_dim": 5,
    "slots": 4,
}
SIZES |= {"positions": 16, "vl_layers": 2, "vl_heads": 2}
HEADS = {
    "n15": (OLD, "ratio", {"future_tokens": 4}),
    "n17": (NEW, "scaled", {"alternate": 2, "state_tokens": "joined", "state_dropout": 0.2}),
}

TOLD = {"loss": "masked flow loss", "sampled": "actions after 4 Euler steps"}

pytestmark = pytest.mark.hosts


class Given(torch.nn.Module):
    """A backbone that has seen it all already."""

    def __init__(self, tokens: VLTokens) -> None:
        super().__init__()
        self.tokens, self.width = tokens, tokens.x.shape[2]

    def forward(self, observation: Observation) -> VLTokens:
        return self.tokens


def vendor(python: str, what: str, folder: Path) -> tuple[dict, dict, dict]:
    """Weights, inputs and outputs of the vendor's class. Skips where its environment is absent."""
    if not Path(python).exists():
        pytest.skip(f"no vendor environment at {python}; make test-hosts makes it")
    done = subprocess.run([python, SCRIPT, what, folder], capture_output=True, text=True, timeout=280)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"{python} lacks a package: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-2000:]
    return tuple(load_file(folder / f"{name}.safetensors") for name in ("weights", "inputs", "outputs"))


def against(folder: Path) -> str:
    """The packages and versions that the vendor's side ran on."""
    versions = json.loads((folder / "versions.json").read_text())
    return ", ".join(f"{k} {v}" for k, v in versions.items() if k != "torch")


@pytest.mark.parametrize("version", HEADS)
def test_head_equals_the_vendors(version, tmp_path, table):
    python, law, layout = HEADS[version]
    weights, given, theirs = vendor(python, version, tmp_path)
    tokens = VLTokens(given["features"], given["real"], given["image"])
    host = Groot(backbone=Given(tokens), head=partial(GrootHead, **SIZES, **layout), horizon=6, tau_law=law).eval()
    host.action_head.load_state_dict(weights, strict=True)
    mask, dims = given["action_mask"].bool(), torch.ones(3, 7, dtype=torch.bool)
    observation = Observation(
        images_BVCHW=torch.zeros(3, 1, 3, 8, 8, dtype=torch.uint8),
        state_BS=given["state"][:, 0],
        instruction=("",) * 3,
        embodiment_B=given["embodiment_id"],
        action_dims_BA=dims,
    )
    tau = given["tau"]
    x = (1 - tau[:, None, None]) * given["noise"] + tau[:, None, None] * given["action"]
    with torch.no_grad():
        context = host.action_head.context(host.backbone(observation))
        steps = mask.any(dim=2)
        velocity, states = host.velocity(x, tau, observation.state_BS, context, observation.embodiment_B, steps)
        ours = {"velocity": velocity, **{k: v for k, v in states.items() if k != "norm_out"}}
        ours["loss"] = velocity_mse(velocity, given["action"] - given["noise"], mask)
        ours["sampled"] = host.integrate(observation, given["noise"], steps=4)
    for name, tensor in ours.items():
        error = (tensor - theirs[name]).abs().max().item()
        table.note(f"groot_{version} head", against(tmp_path), TOLD.get(name, name), error, TOLERANCE)
    # the comparison could have failed: another time gives another answer
    with torch.no_grad():
        other, _ = host.velocity(x, tau.flip(0), observation.state_BS, context, observation.embodiment_B, steps)
    assert (other - theirs["velocity"]).abs().max() > 10 * TOLERANCE


@pytest.mark.parametrize("python", [QWEN, NEW], ids=["older", "newer"])
def test_qwen_backbone_equals_the_vendors_features_before_the_final_norm(python, tmp_path, table):
    from lara.policy.hosts.groot.images import qwen_patches
    from lara.policy.hosts.groot.qwen import QwenBackbone

    weights, given, theirs = vendor(python, "qwen", tmp_path)
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "head_dim": 16}
    text |= {
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "rope_parameters": rope,
    }
    vision = {"depth": 3, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 8, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    names = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
    backbone = QwenBackbone(
        processor=lambda images, texts: {k: given[k] for k in names},
        text=text,
        vision=vision,
        select_layer=3,
        image_token=5,
        video_token=6,
        vision_start_token=3,
        vision_end_token=4,
    ).eval()
    backbone.model.load_state_dict(weights, strict=True)
    observation = Observation(
        images_BVCHW=given["images"],
        state_BS=torch.zeros(2, 5),
        instruction=("", ""),
        embodiment_B=torch.zeros(2, dtype=torch.long),
        action_dims_BA=torch.ones(2, 7, dtype=torch.bool),
    )
    with torch.no_grad():
        tokens = backbone(observation)
    real = tokens.mask
    error = (tokens.x - theirs["features"])[real].abs().max().item()
    table.note("groot_n17 backbone", against(tmp_path), "features at select_layer", error, TOLERANCE)
    assert (tokens.x - theirs["normed"])[real].abs().max() > 10 * TOLERANCE
    assert torch.equal(tokens.image, given["input_ids"] == 5)
    patches, grid = qwen_patches(given["images"].flatten(0, 1), patch=8, merge=2, frames=2)
    assert torch.equal(grid, given["image_grid_thw"])
    assert torch.allclose(patches, given["pixel_values"], atol=1e-5)
