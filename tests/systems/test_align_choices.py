"""What every way to align must grant, for every file of conf/align: a new one is covered by its being there."""

import dataclasses

import pytest
import torch

from lara.config.build import build
from lara.config.compose import choices, compose, resolved
from lara.systems.lara import Lara
from lara.train.parts import part_of_parameters, part_paths
from tests.tiny import open_gates, tiny_batch, tiny_lam, tiny_policy

pytestmark = pytest.mark.parametrize("align", choices("align"))


def system(align):
    config = resolved(compose("train", ["data.root=x", "policy.backbone.path=x", f"align={align}"]))
    torch.manual_seed(0)
    made = Lara(policy=tiny_policy(), lam=tiny_lam(), coupling=build(config["system"]["coupling"]))
    open_gates(made)
    return made


def losses(made, batch, terms):
    torch.manual_seed(0)
    return made.losses(batch, frozenset(terms)).terms


def test_it_returns_the_terms_asked_for_and_no_others(align):
    made, batch = system(align).eval(), tiny_batch()
    together = losses(made, batch, made.terms())
    assert set(together) == set(made.terms())
    assert all(value.ndim == 0 and value.isfinite() for value in together.values())
    for name in made.coupling.terms():
        alone = losses(made, batch, [name])
        assert set(alone) == {name}
        torch.testing.assert_close(alone[name], together[name])


def test_parts_cover_every_parameter_once(align):
    made = system(align)
    assert set(part_of_parameters(made).values()) <= set(part_paths(made))
    assert len(part_of_parameters(made)) == len(dict(made.named_parameters()))


def test_a_sample_without_a_future_frame_does_not_count(align):
    made, batch = system(align).eval(), tiny_batch()
    mask, frames = batch.frame_mask_BF.clone(), batch.frames_BFVCHW.clone()
    mask[0, 1] = False
    gone = dataclasses.replace(batch, frame_mask_BF=mask)
    frames[0, 1] = 255 - frames[0, 1]
    other = dataclasses.replace(gone, frames_BFVCHW=frames)
    counted = dataclasses.replace(batch, frames_BFVCHW=frames)
    names = [name for name in made.coupling.terms() if name != "action"]
    first, second = losses(made, gone, names), losses(made, other, names)
    for name in names:
        torch.testing.assert_close(first[name], second[name])
    assert any(not torch.equal(losses(made, batch, names)[n], losses(made, counted, names)[n]) for n in names)


def test_the_policy_learns_from_what_is_not_its_own_action_term(align):
    made = system(align)
    sum(losses(made, tiny_batch(), set(made.coupling.terms()) - {"action"}).values()).backward()
    assert any(p.grad is not None and p.grad.any() for p in made.policy.parts()["expert"].parameters())
