"""Runs INSIDE the vendor environment (lerobot 0.4.4): one tiny policy with random weights, its inputs and its outputs.

    python vendor_pi.py pi0|pi05|smolvla OUT.safetensors

Keys: "weight/...", "input/...", "output/..."; the metadata's "meta" is JSON. Imports nothing of lara.
"""

import json
import sys
from types import SimpleNamespace

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from safetensors.torch import save_file

B, H, A, S, IMAGE, VOCABULARY, PROMPT = 3, 5, 6, 7, 32, 64, 9
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
SENTENCES = ["open the drawer", "put_the cup away\n", " close it"]


def features():
    cameras = {f"observation.images.{k}": PolicyFeature(FeatureType.VISUAL, (3, IMAGE, IMAGE)) for k in "abc"}
    return {
        "input_features": {**cameras, "observation.state": PolicyFeature(FeatureType.STATE, (S,))},
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (A,))},
        "max_state_dim": S,
        "max_action_dim": A,
        "chunk_size": H,
        "n_action_steps": H,
        "device": "cpu",
    }


def pi(name):
    import importlib

    module = importlib.import_module(f"lerobot.policies.{name}.modeling_{name}")
    configuration = importlib.import_module(f"lerobot.policies.{name}.configuration_{name}")
    sizes = {"gemma_2b": (24, 40), "gemma_300m": (16, 32)}
    module.get_gemma_config = lambda variant: module.GemmaConfig(
        width=sizes[variant][0], depth=3, mlp_dim=sizes[variant][1], num_heads=8, num_kv_heads=1, head_dim=8
    )
    paligemma, gemma = module.PaliGemmaForConditionalGeneration, module.GemmaForCausalLM

    def small_paligemma(config):
        for key, value in {**VISION, "patch_size": 16, "projection_dim": sizes["gemma_2b"][0]}.items():
            setattr(config.vision_config, key, value)
        config.text_config.vocab_size = VOCABULARY
        return paligemma(config=config)

    def small_gemma(config):
        config.vocab_size = VOCABULARY
        return gemma(config=config)

    module.PaliGemmaForConditionalGeneration, module.GemmaForCausalLM = small_paligemma, small_gemma
    upper = name.upper()
    config = getattr(configuration, f"{upper}Config")(dtype="float32", image_resolution=(IMAGE, IMAGE), **features())
    policy = getattr(module, f"{upper}Policy")(config)
    expert = policy.model.paligemma_with_expert.gemma_expert.model
    resize = lambda x: module.resize_with_pad_torch(x, IMAGE, IMAGE)  # noqa: E731
    return policy, policy._preprocess_images, expert, resize


def smolvla():
    from lerobot.policies.smolvla import configuration_smolvla, modeling_smolvla, smolvlm_with_expert
    from transformers import SmolVLMConfig

    vlm = SmolVLMConfig(
        vision_config={**VISION, "image_size": IMAGE, "patch_size": 8},
        text_config={
            "model_type": "llama",
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "vocab_size": VOCABULARY,
            "rms_norm_eps": 1e-5,
            "pad_token_id": 0,
        },
        scale_factor=2,
        pad_token_id=0,
        image_token_id=5,
    )
    words = SimpleNamespace(fake_image_token_id=1, global_image_token_id=2)
    smolvlm_with_expert.AutoConfig = SimpleNamespace(from_pretrained=lambda name: vlm)
    smolvlm_with_expert.AutoProcessor = SimpleNamespace(from_pretrained=lambda name: SimpleNamespace(tokenizer=words))
    config = configuration_smolvla.SmolVLAConfig(
        load_vlm_weights=False, num_vlm_layers=3, resize_imgs_with_padding=(IMAGE, IMAGE), **features()
    )
    policy = modeling_smolvla.SmolVLAPolicy(config)
    expert = policy.model.vlm_with_expert.lm_expert
    resize = lambda x: modeling_smolvla.resize_with_pad(x / 2 + 0.5, IMAGE, IMAGE, pad_value=0) * 2 - 1  # noqa: E731
    return policy, policy.prepare_images, expert, resize


def randomise(policy):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in policy.parameters():
            scale = p[0].numel() ** -0.5 if p.ndim > 1 else 0.3
            p.copy_(torch.randn(p.shape, generator=generator) * scale)


def tap(expert, states):
    """The residual stream before each layer's first norm, and after the last norm."""

    def before(name):
        return lambda _, inputs: states.__setitem__(name, inputs[0].detach())

    for k, layer in enumerate(expert.layers):
        if k:
            layer.input_layernorm.register_forward_pre_hook(before(f"block_{k}"))
    expert.norm.register_forward_pre_hook(before(f"block_{len(expert.layers)}"))


def main(name, out):
    torch.manual_seed(0)
    policy, preprocess, expert, resize = smolvla() if name == "smolvla" else pi(name)
    policy.to("cpu").eval()
    randomise(policy)
    g = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (B, 2, 3, IMAGE, IMAGE), generator=g, dtype=torch.uint8)
    wide = torch.randint(0, 256, (2, 3, 20, 45), generator=g, dtype=torch.uint8)
    state = torch.rand(B, S, generator=g) * 2.4 - 1.2
    ids = torch.randint(3, VOCABULARY, (B, PROMPT), generator=g)
    mask = torch.arange(PROMPT) < torch.tensor([PROMPT, 4, 6])[:, None]
    actions, noise = (torch.randn(B, H, A, generator=g) for _ in range(2))
    time = torch.tensor([0.93, 0.41, 0.07])

    # the third camera is declared and absent: pi pads it with a masked image, SmolVLA leaves it out
    batch = {f"observation.images.{k}": images[:, v].float() / 255 for v, k in enumerate("ab")}
    pictures, masks = preprocess(batch)
    seen = (pictures, masks, ids * mask, mask) + (() if name == "pi05" else (state,))
    states, velocities = {}, []
    tap(expert, states)
    policy.model.action_out_proj.register_forward_pre_hook(lambda _, x: states.__setitem__("norm_out", x[0].detach()))
    policy.model.action_out_proj.register_forward_hook(lambda _, __, y: velocities.append(y.detach()))
    with torch.no_grad():
        loss = policy.model.forward(*seen, actions, noise=noise, time=time)
    kept = {key: value[:, -H:].clone() for key, value in states.items()}  # the sampler writes into `states` again
    velocity = velocities[0]
    sampled = {}
    for steps in (1, 4):
        extra = {"num_steps": steps} if name != "smolvla" else {}
        policy.model.config.num_steps = steps
        with torch.no_grad():
            sampled[f"sampled_{steps}"] = policy.model.sample_actions(*seen, noise=noise, **extra)

    meta = {"prompts": prompts(name, state), "sentences": SENTENCES, "horizon": H, "layers": len(expert.layers)}
    given = {"images": images, "wide": wide, "state": state, "ids": ids, "mask": mask}
    given |= {"actions": actions, "noise": noise, "time": time}
    tensors = {
        **{f"weight/{key}": value for key, value in policy.state_dict().items()},
        **{f"input/{key}": value for key, value in given.items()},
        **{f"output/{key}": value for key, value in kept.items()},
        **{f"output/{key}": value for key, value in sampled.items()},
        "output/velocity": velocity,
        "output/loss": loss.mean(),
        "output/letterbox": resize(wide.float() / 127.5 - 1),
    }
    save_file(
        {key: value.detach().clone().contiguous() for key, value in tensors.items()}, out, {"meta": json.dumps(meta)}
    )


def prompts(name, state):
    """What the vendor's processor writes; SmolVLA and pi0 only end the sentence with a newline."""
    if name != "pi05":
        from lerobot.policies.pi0.processor_pi0 import Pi0NewLineProcessor

        return Pi0NewLineProcessor().complementary_data({"task": [s.strip() for s in SENTENCES]})["task"]
    from lerobot.policies.pi05.processor_pi05 import Pi05PrepareStateTokenizerProcessorStep
    from lerobot.processor.core import TransitionKey

    transition = {
        TransitionKey.OBSERVATION: {"observation.state": state},
        TransitionKey.COMPLEMENTARY_DATA: {"task": list(SENTENCES)},
    }
    done = Pi05PrepareStateTokenizerProcessorStep(max_state_dim=S)(transition)
    return done[TransitionKey.COMPLEMENTARY_DATA]["task"]


if __name__ == "__main__":
    main(*sys.argv[1:])
