"""pi0, pi0.5 and SmolVLA: the laws of any host, and their own."""

import dataclasses
import subprocess
import sys
from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from lara.config.build import build
from lara.config.compose import compose, resolved
from lara.errors import ConfigError
from lara.inspect.footprint import measure
from lara.losses.flow import velocity_mse
from lara.policy.hosts.pi.names import HEAD, WORDS
from lara.policy.hosts.shared.tokenizer import WordHashTokenizer
from tests.policy.hosts.contract import FlowPolicyLaws, changed, flow
from tests.policy.hosts.tiny_native import HOSTS, tiny_host
from tests.tiny import shorten, tiny_batch


class TestPi(FlowPolicyLaws):
    @pytest.fixture(params=HOSTS)
    def make(self, request):
        return (
            partial(tiny_host, request.param, prompt_state_dims=5)
            if request.param == "pi05"
            else partial(tiny_host, request.param)
        )


@pytest.fixture(params=HOSTS)
def name(request):
    return request.param


def _gradients(host, batch):
    out = flow(host, batch)
    (velocity_mse(out.velocity, out.target, batch.action_mask_BHA) + out.states["block_2"].square().mean()).backward()
    return {n: p.grad for n, p in host.named_parameters() if p.grad is not None}


def test_the_hosts_own_time_runs_from_one_to_zero(name, monkeypatch):
    """u = eps - a at t = 1 - tau: x - t u is the data, whatever t; and what the expert says is turned round."""
    host, batch, seen = tiny_host(name), tiny_batch(3), []
    denoise = host.denoise

    def spy(prefix, x, state, time, steps):
        answer = denoise(prefix, x, state, time, steps)
        seen.append((x, time, answer[0]))
        return answer

    monkeypatch.setattr(host, "denoise", spy)
    out = flow(host, batch)
    x, time, u = seen[0]
    torch.testing.assert_close(time, 1 - out.tau_B)
    assert torch.equal(out.velocity, -u)
    torch.testing.assert_close(x - time[:, None, None] * -out.target, batch.actions_BHA)
    host.act(batch.observation, steps=4)
    assert [round(t[0].item(), 6) for _, t, _ in seen[1:]] == [1.0, 0.75, 0.5, 0.25]


def test_a_padded_step_is_invisible_to_the_others(name):
    host, batch = tiny_host(name), shorten(tiny_batch(3), 2)
    prefix, state = host.embed_prefix(batch.observation), batch.observation.state_BS
    time, steps = torch.full((3,), 0.5), batch.action_mask_BHA.any(dim=2)
    x = torch.randn(batch.actions_BHA.shape)
    y = torch.cat([x[:, :2], torch.randn_like(x[:, 2:])], dim=1)
    a, b = (host.denoise(prefix, z, state, time, steps)[0] for z in (x, y))
    assert torch.equal(a[:, :2], b[:, :2])
    assert not torch.equal(a[:, 2:], b[:, 2:])


def test_which_actions_see_later_ones(name):
    """SmolVLA's chunk is causal, pi's is not."""
    host, batch = tiny_host(name), tiny_batch(3)
    prefix, steps = host.embed_prefix(batch.observation), torch.ones(3, 4, dtype=torch.bool)
    x = torch.randn(3, 4, 6)
    y = x.clone()
    y[:, -1] += 1
    a, b = (host.denoise(prefix, z, batch.observation.state_BS, torch.full((3,), 0.5), steps)[0] for z in (x, y))
    assert torch.equal(a[:, :-1], b[:, :-1]) == (name == "smolvla")
    assert not torch.equal(a[:, -1], b[:, -1])


def test_room_for_a_longer_prompt_changes_nothing(name):
    batch = tiny_batch(3)
    a, b = (flow(tiny_host(name, prompt_length=n), batch) for n in (48, 61))
    torch.testing.assert_close(a.velocity, b.velocity, atol=1e-5, rtol=1e-4)


def test_fewer_cameras_are_fine_and_more_are_refused(name):
    host = tiny_host(name, views=2)
    one, two = (flow(host, tiny_batch(3, views=v)).velocity for v in (1, 2))
    assert not torch.allclose(one, two)
    for views in (0, 3):
        images = torch.zeros(3, views, 3, 32, 32, dtype=torch.uint8)
        with pytest.raises(ConfigError, match="1 to 2 cameras"):
            flow(host, changed(tiny_batch(3), images_BVCHW=images))


def test_recomputing_blocks_changes_no_gradient(name):
    batch = tiny_batch(3)
    plain, again = (_gradients(tiny_host(name, checkpointing=c), batch) for c in ("none", "non_reentrant"))
    assert plain.keys() == again.keys()
    for key in plain:
        torch.testing.assert_close(plain[key], again[key], atol=1e-7, rtol=1e-5, msg=key)


def test_recomputing_blocks_keeps_fewer_activations(name):
    def kept(checkpointing):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            flow(tiny_host(name, checkpointing=checkpointing), tiny_batch(3))
        return sum(sizes)

    assert kept("non_reentrant") < 0.6 * kept("none")


def test_reentrant_checkpointing_is_refused_with_the_reason(name):
    with pytest.raises(ConfigError, match="without gradients"):
        tiny_host(name, checkpointing="reentrant")
    with pytest.raises(ConfigError, match="one of"):
        tiny_host(name, checkpointing="sometimes")


def test_noise_in_padding_is_a_choice(name, monkeypatch):
    batch = tiny_batch(3)
    for noisy in (False, True):
        host, seen = tiny_host(name, noise_in_padding=noisy), []
        denoise = host.denoise
        monkeypatch.setattr(host, "denoise", lambda p, x, *a, d=denoise, s=seen: s.append(x) or d(p, x, *a))
        flow(host, batch)
        host.act(batch.observation, steps=2)
        assert [bool(x[:, :, 4:].any()) for x in seen] == [noisy] * 3


def test_what_nobody_reads_does_not_learn(name):
    host = tiny_host(name)
    frozen = {n for n, p in host.named_parameters() if not p.requires_grad}
    language = next(n for n, _ in host.named_modules() if n.endswith(("language_model", "text_model")))
    last = f"{language}.layers.2."
    kept = ("input_layernorm", "self_attn.k_proj", "self_attn.v_proj")
    expected = {
        n for n, _ in host.named_parameters() if n.startswith(last) and not n.startswith(tuple(last + k for k in kept))
    }
    assert frozen == {*expected, f"{language}.norm.weight"}


@pytest.mark.parametrize("changes", [{"state_dim": 7}, {"action_dim": 9}, {"horizon": 5}])
def test_data_of_other_sizes_is_refused_with_the_remedy(name, changes):
    with pytest.raises(ConfigError, match=f"set {next(iter(changes))}="):
        flow(tiny_host(name, **changes), tiny_batch(3))


def test_a_prompt_that_does_not_fit_is_refused(name):
    with pytest.raises(ConfigError, match=r"policy\.prompt_length="):
        flow(tiny_host(name, prompt_length=3), tiny_batch(3))


def test_pi05_reads_the_state_in_bins():
    host, batch = tiny_host("pi05", prompt_state_dims=5), tiny_batch(3)
    state = torch.full((3, 5), 0.1001)
    same, other = state + 1e-4, state + 0.5
    a, b, c = (flow(host, changed(batch, state_BS=s)).velocity for s in (state, same, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_keys_of_lerobot_openpi_and_older_ones_all_load():
    host = tiny_host("pi0")
    lerobot, openpi = host.vendor_state_dict(), host.vendor_state_dict(prefix="")
    assert {k.removeprefix("model.") for k in lerobot} == set(openpi)
    older = {
        key.replace("paligemma.model.language_model.", "paligemma.language_model.model.")
        .replace("paligemma.model.", "paligemma.")
        .replace("paligemma.lm_head.", "paligemma.language_model.lm_head."): value
        for key, value in lerobot.items()
    }
    assert older.keys() != lerobot.keys()
    tied_once = {key: value for key, value in openpi.items() if key != WORDS}
    assert HEAD in tied_once
    statistics = {"normalize_inputs.buffer_observation_state.mean": torch.zeros(5)}
    for tensors in (lerobot, openpi, older, tied_once, {**lerobot, **statistics}):
        other = tiny_host("pi0", seed=3)
        other.load_vendor(tensors)
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in host.state_dict().items())


def test_a_host_is_built_from_the_file_that_another_wrote(name, tmp_path):
    host, file = tiny_host(name), tmp_path / "model.safetensors"
    save_file(host.vendor_state_dict(), file)
    other = tiny_host(name, seed=7, path=str(file), randomise=False)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in host.state_dict().items())


@pytest.mark.parametrize("choice", HOSTS)
def test_the_tiny_configuration_builds_and_steps_without_any_download(choice):
    from tests.conf.tiny_configs import batch_for

    config = resolved(compose("train", ["experiment=demo/lara", "data.root=x", f"policy={choice}_tiny"]))
    system = build(config["system"])
    system.losses(batch_for(config, 2), frozenset(system.terms()) - {"lam.lpips"}).terms["action"].backward()
    assert any(p.grad is not None and p.grad.any() for p in system.policy.parameters())


@pytest.mark.parametrize("choice", HOSTS)
def test_the_footprint_of_a_host_is_told_without_its_weights(choice):
    config = resolved(compose("train", ["experiment=demo/lara", "data.root=x", f"policy={choice}_tiny"]))
    assert measure(config).flops > 0


def test_pi0_is_transformers_pi0():
    """The same weights in Hugging Face's PI0ForConditionalGeneration give the same velocity and actions."""
    from transformers import PI0Config, PI0ForConditionalGeneration

    head = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 3, "vocab_size": 64}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
        "vision_use_head": False,
        "model_type": "siglip_vision_model",
    }
    theirs = PI0ForConditionalGeneration(
        PI0Config(
            vlm_config={
                "model_type": "paligemma",
                "vision_config": vision,
                "text_config": {"model_type": "gemma", "hidden_size": 24, "intermediate_size": 32, **head},
                "projection_dim": 24,
                "image_token_id": 63,
            },
            dit_config={"model_type": "gemma", "hidden_size": 16, "intermediate_size": 32, **head},
            chunk_size=4,
            max_state_dim=5,
            max_action_dim=6,
        )
    ).eval()
    host, batch = (
        tiny_host("pi0", noise_in_padding=True, tokenizer=WordHashTokenizer(60)).eval(),
        tiny_batch(3, views=2),
    )
    ours = host.state_dict()
    renamed = {
        "model.vlm.language_model.": "paligemma_with_expert.paligemma.model.language_model.",
        "model.vlm.vision_tower.": "paligemma_with_expert.paligemma.model.vision_tower.vision_model.",
        "model.vlm.multi_modal_projector.": "paligemma_with_expert.paligemma.model.multi_modal_projector.",
        "model.dit.": "paligemma_with_expert.gemma_expert.model.",
        "embed_action_time.": "",
    }
    with torch.no_grad():
        for key, value in theirs.named_parameters():
            if key == "model.dit.embed_tokens.weight":
                continue  # never looked up
            old = next((p for p in renamed if key.startswith(p)), "")
            value.copy_(ours.pop(renamed.get(old, "") + key.removeprefix(old)))
    assert not ours

    observation = batch.observation
    ids, mask = host.tokenize(observation)
    images = torch.stack(host.pixels(observation, 32), dim=1)
    slots = torch.full((3, 2 * 4), 63)
    given = {
        "input_ids": torch.cat([slots, ids], dim=1),
        "attention_mask": torch.cat([torch.ones_like(slots), mask.long()], dim=1),
        "pixel_values": images,
        "pixel_attention_mask": torch.ones(3, 2, dtype=torch.bool),
        "state": observation.state_BS,
    }
    x, time = torch.randn(3, 4, 6), torch.tensor([1.0, 0.5, 0.1])
    with torch.no_grad():
        answer = host.denoise(
            host.embed_prefix(observation), x, observation.state_BS, time, torch.ones(3, 4, dtype=torch.bool)
        )[0]
        # its waves are made in float32, which loses three digits at the shortest period
        torch.testing.assert_close(answer, theirs(**given, noise=x, timestep=time).logits, atol=5e-4, rtol=1e-3)
        sampled = theirs.sample_actions(**given, noise=x, num_steps=4)
    torch.testing.assert_close(host.integrate(observation, x, steps=4).detach(), sampled, atol=5e-4, rtol=1e-3)


@pytest.mark.long
def test_compiling_changes_no_loss(name):
    """In a process of its own, because the shape checker of these tests cannot be traced."""
    command = [sys.executable, "-m", "tests.policy.hosts.compiled", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=290)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_batch_without_actions_still_gives_finite_numbers(name):
    batch = tiny_batch(3)
    nothing = dataclasses.replace(batch, action_mask_BHA=torch.zeros_like(batch.action_mask_BHA))
    assert torch.isfinite(flow(tiny_host(name), nothing).velocity).all()
