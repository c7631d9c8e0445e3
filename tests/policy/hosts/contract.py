"""The laws of a policy that can be aligned (policy.host.FlowPolicy), for any host.

Subclass with a name that begins with Test and a fixture `make`: a function (seed=0, **changes) -> host whose sizes fit
`tests.tiny.tiny_batch` and whose weights are all random. Changes every host takes: draws. A host's own padding must be
silent here (nothing padded carries noise or is looked at).
"""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import nn

from lara.errors import CheckpointError
from lara.losses.alignment import RawCosine
from lara.losses.flow import velocity_mse
from lara.systems.couplings.alignment import Alignment
from lara.systems.lara import Lara
from lara.train.parts import part_of_parameters, part_paths
from tests.tiny import shorten, tiny_batch, tiny_lam


def flow(host, batch, seed: int = 0):
    """One training pass with the noise and times of a seed."""
    torch.manual_seed(seed)
    return host.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)


def changed(batch, **fields):
    return dataclasses.replace(batch, observation=dataclasses.replace(batch.observation, **fields))


class FlowPolicyLaws:
    @pytest.fixture
    def batch(self):
        return tiny_batch(3, views=2)

    def test_every_block_is_named_and_has_one_row_per_draw_and_action(self, make, batch):
        host = make(draws=2)
        out = flow(host, batch)
        assert set(out.states) == {*(f"block_{k}" for k in range(1, host.blocks + 1)), "norm_out"}
        assert {tuple(state.shape) for state in out.states.values()} == {(6, *batch.actions_BHA.shape[1:2], host.width)}
        assert out.velocity.shape == out.target.shape == (6, *batch.actions_BHA.shape[1:])
        assert out.tau_B.shape == (6,)
        assert ((out.tau_B >= 0) & (out.tau_B <= 1)).all()

    def test_the_target_points_from_noise_to_data(self, make, batch):
        host, shift = make(), 0.5
        moved = dataclasses.replace(batch, actions_BHA=batch.actions_BHA + shift * batch.action_mask_BHA)
        difference = flow(host, moved).target - flow(host, batch).target
        torch.testing.assert_close(difference, shift * batch.action_mask_BHA.float())

    def test_padded_dims_and_steps_cannot_influence_what_is_real(self, make, batch):
        host = make().eval()
        batch = shorten(batch, 2)
        rubbish = dataclasses.replace(batch, actions_BHA=batch.actions_BHA + 9.0 * ~batch.action_mask_BHA)
        clean, dirty = flow(host, batch), flow(host, rubbish)
        real = batch.action_mask_BHA
        assert torch.equal(clean.velocity[real], dirty.velocity[real])
        assert all(torch.equal(clean.states[k][:, :2], dirty.states[k][:, :2]) for k in clean.states)
        other = dataclasses.replace(batch, actions_BHA=batch.actions_BHA + 0.5 * real)
        assert not torch.equal(flow(host, other).velocity[real], clean.velocity[real])

    def test_act_is_a_function_of_the_seed_and_leaves_padding_at_zero(self, make, batch):
        host = make().eval()
        chunks = [
            host.act(batch.observation, steps=3, generator=torch.Generator().manual_seed(s)).actions_BHA
            for s in (0, 0, 1)
        ]
        assert chunks[0].shape == batch.actions_BHA.shape
        assert torch.equal(chunks[0], chunks[1])
        assert not torch.equal(chunks[0], chunks[2])
        assert not chunks[0][:, :, 4:].any()

    def test_images_words_and_state_all_matter(self, make, batch):
        host = make().eval()
        observation = batch.observation
        before = flow(host, batch).velocity
        for fields in (
            {"images_BVCHW": 255 - observation.images_BVCHW},
            {"instruction": ("close the lid",) * 3},
            {"state_BS": -observation.state_BS},
        ):
            assert not torch.allclose(flow(host, changed(batch, **fields)).velocity, before, atol=1e-5), fields.keys()

    def test_draws_of_a_sample_depend_on_that_sample_alone(self, make, batch):
        host = make(draws=2).eval()
        images = batch.observation.images_BVCHW.clone()
        images[1] = 255 - images[1]
        rows = (flow(host, batch).velocity - flow(host, changed(batch, images_BVCHW=images)).velocity).abs()
        moved = rows.flatten(1).amax(dim=1) > 1e-4
        assert moved.tolist() == [False, True, False, False, True, False]

    def test_parts_cover_every_parameter_once_and_are_registered(self, make):
        system = Lara(policy=make())
        assert set(part_of_parameters(system).values()) == set(part_paths(system))
        sides = {name.split(".")[0].split("_")[0] for name in system.policy.parts()}
        assert sides == {"backbone", "expert"}

    def test_gradients_reach_all_that_learns(self, make, batch):
        host = make()
        out = flow(host, batch)
        velocity_mse(out.velocity, out.target, batch.action_mask_BHA).backward()
        unreached = [n for n, p in host.named_parameters() if p.requires_grad and p.grad is None]
        assert not unreached

    def test_an_alignment_teaches_expert_and_latent_action_model(self, make, batch):
        host = make()
        system = Lara(policy=host, lam=tiny_lam(), coupling=Alignment(objective=RawCosine, depth=0))
        torch.manual_seed(0)
        system.losses(batch, frozenset({"align"})).terms["align"].backward()
        learners = {"policy.expert": host.parts(), "lam": system.lam.parts()}
        for side, parts in learners.items():
            modules = [m for name, m in parts.items() if side == "lam" or name.startswith("expert")]
            assert any(p.grad is not None and p.grad.any() for m in modules for p in m.parameters()), side

    def test_weights_go_out_and_back_without_a_bit_changed(self, make, batch):
        host, other = make(seed=0), make(seed=5)
        written = host.vendor_state_dict()
        assert not torch.equal(flow(host, batch).velocity, flow(other, batch).velocity)
        other.load_vendor(written)
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in host.state_dict().items())
        again = other.vendor_state_dict()
        assert written.keys() == again.keys()
        assert all(torch.equal(written[key], again[key]) for key in written)

    def test_a_checkpoint_short_of_one_weight_is_refused(self, make):
        host = make()
        written = host.vendor_state_dict()
        key = next(key for key in reversed(written) if "norm" in key)
        del written[key]
        with pytest.raises(CheckpointError):
            host.load_vendor(written)

    def test_adapters_go_on_linear_layers_of_the_side_they_name(self, make):
        host = make()
        parts = host.parts()
        inside = {id(m) for name, part in parts.items() if name.startswith("backbone") for m in part.modules()}
        assert set(host.lora_regex) == {"vlm", "expert"}
        for side, regex in host.lora_regex.items():
            found = [m for name, m in host.named_modules() if re.fullmatch(regex, name)]
            assert found
            assert all(isinstance(m, nn.Linear) and (id(m) in inside) == (side == "vlm") for m in found)
