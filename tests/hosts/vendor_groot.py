"""Runs inside a vendor's environment: random weights and inputs, and what the vendor's classes make of them.

    python vendor_groot.py n15|n17|qwen FOLDER

n15: lerobot 0.4's FlowmatchingActionHead. n17: lerobot 0.6's GR00TN17ActionHead. qwen: transformers' Qwen3-VL,
shortened as Isaac-GR00T does. Writes weights, inputs and outputs as safetensors into FOLDER, and versions.json.
Imports no lara.
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

B, J, C, H, A, S, SLOTS, E, HIDDEN = 3, 9, 16, 6, 7, 5, 4, 32, 24
DIT = {
    "num_attention_heads": 4,
    "attention_head_dim": 8,
    "output_dim": HIDDEN,
    "num_layers": 6,
    "dropout": 0.2,
    "interleave_self_attention": True,
    "norm_type": "ada_norm",
    "positional_embeddings": None,
    "final_dropout": True,
}
VL = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_layers": 2,
    "dropout": 0.2,
    "final_dropout": True,
    "positional_embeddings": None,
}
COMMON = {
    "action_horizon": H,
    "max_state_dim": S,
    "hidden_size": HIDDEN,
    "input_embedding_dim": E,
    "backbone_embedding_dim": C,
    "max_num_embodiments": SLOTS,
    "num_inference_timesteps": 4,
    "max_seq_len": 16,
    "vl_self_attention_cfg": VL,
}


class Record(dict):
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


def shake(module):
    """No weight stays 0 or 1, so that every one of them matters to the comparison."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))


def inputs():
    mask = torch.ones(B, H, A)
    mask[:, :, 5:] = 0
    mask[1, 4:] = 0
    image = torch.zeros(B, J, dtype=torch.bool)
    image[:, 3:7] = True
    real = torch.ones(B, J, dtype=torch.bool)
    real[1, :2] = False
    return {
        "features": torch.randn(B, J, C),
        "real": real,
        "image": image,
        "state": torch.randn(B, 1, S),
        "action": torch.randn(B, H, A) * mask,
        "action_mask": mask,
        "embodiment_id": torch.tensor([2, 0, 3]),
        "noise": torch.randn(B, H, A),
        "tau": torch.tensor([0.1234, 0.5, 0.9876]),
    }


def run_head(head, module, given):
    module.BatchFeature = lambda data: Record(data)
    head.sample_time = lambda *a, **k: given["tau"]
    seen, outputs = [], {}
    for block in head.model.transformer_blocks:
        block.register_forward_hook(lambda m, i, o: seen.append(o))
    decoded = head.action_decoder.register_forward_hook(lambda m, i, o: outputs.__setitem__("velocity", o[:, -H:]))
    backbone = Record(
        backbone_features=given["features"], backbone_attention_mask=given["real"], image_mask=given["image"]
    )
    action = Record({k: given[k] for k in ("state", "action", "action_mask", "embodiment_id")})
    randn = torch.randn
    torch.randn = lambda *a, **k: given["noise"].clone()
    try:
        with torch.no_grad():
            outputs["loss"] = head(Record(backbone), Record(action)).loss
            decoded.remove()
            outputs |= {f"block_{k}": h[:, -H:] for k, h in enumerate(seen, start=1)}
            plain = Record({k: given[k] for k in ("state", "embodiment_id")})
            outputs["sampled"] = head.get_action(Record(backbone), plain).action_pred
    finally:
        torch.randn = randn
    return outputs


def n15():
    import lerobot.policies.groot.action_head.flow_matching_action_head as module

    # without transformers this class has no constructor; its fields and their defaults are all that the head reads
    fields = {f.name: f.default for f in dataclasses.fields(module.FlowmatchingActionHeadConfig)}
    own = {"action_dim": A, "num_target_vision_tokens": 4, "diffusion_model_cfg": {**DIT, "cross_attention_dim": C}}
    config = Record({**fields, **COMMON, **own})
    head = module.FlowmatchingActionHead(config).eval()
    shake(head)
    given = inputs()
    return head.state_dict(), given, run_head(head, module, given)


def n17():
    import lerobot.policies.groot.groot_n1_7 as module

    config = module.GR00TN17Config(
        **COMMON, max_action_dim=A, diffusion_model_cfg=DIT, state_dropout_prob=0.2, use_alternate_vl_dit=True
    )
    head = module.GR00TN17ActionHead(config).eval()
    shake(head)
    given = inputs()
    return head.state_dict(), given, run_head(head, module, given)


def qwen():
    import transformers
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    new = int(transformers.__version__.split(".")[0]) >= 5
    rope = {"rope_parameters": {**rope, "rope_theta": 5e6}} if new else {"rope_scaling": rope, "rope_theta": 5e6}
    text = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 512,
    }
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(
        text_config={**text, **rope},
        vision_config=vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "sdpa"
    model = Qwen3VLForConditionalGeneration(config).eval()
    shake(model)
    language = model.model.language_model
    del language.layers[3:]
    # two images of 32 x 48 pixels, two samples, the first one shorter and padded on the left
    image = [3, *[5] * 6, 4]
    rows = [[0, 0, 1, *image, 9, 2], [1, *image, 10, 11, 12, 2]]
    given = {
        "images": torch.randint(0, 256, (2, 1, 3, 32, 48), dtype=torch.uint8),
        "input_ids": torch.tensor(rows),
        "attention_mask": (torch.tensor(rows) != 0).long(),
        "mm_token_type_ids": (torch.tensor(rows) == 5).long(),
        "image_grid_thw": torch.tensor([[1, 4, 6]] * 2),
    }
    processor = transformers.models.qwen2_vl.image_processing_qwen2_vl.Qwen2VLImageProcessor(
        patch_size=8, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_resize=False
    )
    pixels = processor(images=[i.numpy() for i in given["images"].flatten(0, 1)], return_tensors="pt")
    assert torch.equal(torch.as_tensor(pixels["image_grid_thw"]), given["image_grid_thw"])
    given["pixel_values"] = torch.as_tensor(pixels["pixel_values"]).float()
    before, after = [], []
    language.norm.register_forward_hook(lambda m, i, o: before.append(i[0]) or after.append(o))
    wanted = ["input_ids", "attention_mask", "pixel_values", "image_grid_thw"] + ["mm_token_type_ids"] * new
    with torch.no_grad():
        out = model(**{k: given[k] for k in wanted}, output_hidden_states=True)
    outputs = {"features": before[0], "last_hidden": out.hidden_states[-1], "normed": after[0]}
    return {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}, given, outputs


def main(what, folder):
    torch.manual_seed(0)
    weights, given, outputs = {"n15": n15, "n17": n17, "qwen": qwen}[what]()
    folder = Path(folder)
    for name, tensors in (("weights", weights), ("inputs", given), ("outputs", outputs)):
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, folder / f"{name}.safetensors")
    versions = {"torch": torch.__version__}
    for package in ("lerobot", "transformers", "diffusers"):
        try:
            versions[package] = __import__(package).__version__
        except (ImportError, AttributeError):
            continue
    (folder / "versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main(*sys.argv[1:])
