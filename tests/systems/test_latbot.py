"""LatBot's stage 1: what each term depends on, what a mask removes, and who reads the words and the clip."""

import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from lara.systems.lam import LamSystem
from lara.systems.objectives.clips import Clips
from tests.tiny import tiny_batch, tiny_lam, tiny_latbot

TERMS = frozenset({"lam.reconstruction", "lam.action"})


def _system(**changes):
    return LamSystem(lam=tiny_latbot(**changes), objective=Clips())


def _clip(batch, frames):
    g = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (len(batch), frames, 1, 3, 32, 32), generator=g, dtype=torch.uint8)
    return dataclasses.replace(
        batch, frames_BFVCHW=images, frame_mask_BF=torch.ones(len(batch), frames, dtype=torch.bool)
    )


def _terms(system, batch, terms=TERMS):
    with torch.no_grad():
        return system.losses(batch, frozenset(terms)).terms


@pytest.mark.parametrize("frames", [2, 4])
def test_both_terms_teach_every_part_of_the_model(frames):
    system, batch = _system(frames=frames), _clip(tiny_batch(), frames)
    losses = system.losses(batch, TERMS)
    assert set(losses.terms) == set(system.terms()) == TERMS
    sum(losses.terms.values()).backward()
    missing = [n for n, p in system.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_a_latent_hears_the_words_every_frame_and_nothing_of_its_neighbours():
    lam, batch = tiny_latbot(frames=4).eval(), _clip(tiny_batch(), 4)
    frames, words = batch.frames_BFVCHW[:, :, 0], batch.observation.instruction
    with torch.no_grad():
        z = lam.encode(frames, words).z_BQD
        alone = lam.encode(frames[2:3], words[2:3]).z_BQD
        torch.testing.assert_close(z[2:3], alone, atol=1e-5, rtol=1e-4)
        other = lam.encode(frames, ("press the button", *words[1:])).z_BQD
        assert (other[0] - z[0]).abs().max() > 1e-4
        assert torch.equal(other[1:], z[1:])
        # what is padded behind a short instruction plays no part
        assert torch.equal(lam.encode(frames, tuple(f"{w}  !?" for w in words)).z_BQD, z)
        for f in range(4):
            changed = frames.clone()
            changed[0, f] = 255 - changed[0, f]
            assert (lam.encode(changed, words).z_BQD[0] - z[0]).abs().max() > 1e-4


def test_the_same_frames_twice_change_nothing_for_later_frames():
    """With `difference` a standing clip looks alike whatever its number of steps: their change is exactly 0."""
    former = tiny_latbot(frames=3).former.eval()
    seen = []
    former.trunk.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    frames = torch.randint(0, 256, (1, 1, 3, 32, 32), dtype=torch.uint8).expand(1, 3, 3, 32, 32)
    with torch.no_grad():
        former(frames, ("open",))
    first, second, third = seen[0][:, : 3 * former.stem.tokens].unflatten(1, (3, -1)).unbind(dim=1)
    own = former.patch_positions + former.frame_type[1]
    torch.testing.assert_close(second, own.expand_as(second))
    torch.testing.assert_close(third - second, (former.frame_type[2] - former.frame_type[1]).expand_as(third))
    assert (first - own).abs().max() > 0.1


def test_masked_samples_steps_and_dims_touch_neither_term():
    system, batch = _system().eval(), tiny_batch()
    mask = batch.frame_mask_BF.clone()
    mask[0, 1] = False
    batch = dataclasses.replace(batch, frame_mask_BF=mask)
    before = _terms(system, batch)
    frames, actions = batch.frames_BFVCHW.clone(), batch.actions_BHA.clone()
    frames[0, 1] = 255 - frames[0, 1]
    actions[0] = 1e6
    actions[~batch.action_mask_BHA] = float("nan")
    after = _terms(system, dataclasses.replace(batch, frames_BFVCHW=frames, actions_BHA=actions))
    for name in TERMS:
        assert torch.equal(after[name], before[name]), name
    # the same change where the clip is real is felt
    actions = batch.actions_BHA.clone()
    actions[1] += 1.0 * batch.action_mask_BHA[1]
    assert _terms(system, dataclasses.replace(batch, actions_BHA=actions))["lam.action"] != before["lam.action"]


def test_video_without_actions_feeds_the_frame_alone():
    system, batch = _system(), tiny_batch()
    empty = torch.zeros_like(batch.action_mask_BHA)
    losses = system.losses(dataclasses.replace(batch, action_mask_BHA=empty), TERMS)
    assert losses.terms["lam.action"] == 0
    assert losses.terms["lam.reconstruction"] > 0
    losses.terms["lam.action"].backward()
    assert not any(p.grad is not None and p.grad.any() for p in system.parameters())


def test_terms_are_means_so_that_a_batch_of_the_same_samples_weighs_the_same():
    system, batch = _system().eval(), tiny_batch()
    halves = [_terms(system, _rows(batch, rows)) for rows in (slice(0, 3), slice(3, 6))]
    whole = _terms(system, batch)
    for name in TERMS:
        torch.testing.assert_close(whole[name], (halves[0][name] + halves[1][name]) / 2)


def _rows(batch, rows):
    def cut(record):
        return dataclasses.replace(
            record,
            **{
                f.name: cut(value) if dataclasses.is_dataclass(value) else value[rows]
                for f in dataclasses.fields(record)
                if (value := getattr(record, f.name)) is not None
            },
        )

    return cut(batch)


def test_another_latent_is_only_tried_outside_training_and_makes_no_difference_to_a_deaf_decoder():
    system, batch = _system(), tiny_batch()
    assert "lam.psnr_other_latent" not in system.train().losses(batch, TERMS).metrics
    for module in (system.lam.decoder.up, system.lam.decoder.image.up):
        torch.nn.init.zeros_(module.weight)
        torch.nn.init.zeros_(module.bias)
    losses = system.eval().losses(batch, TERMS)
    torch.testing.assert_close(losses.metrics["lam.psnr_other_latent"], losses.metrics["lam.psnr"])
    torch.testing.assert_close(losses.metrics["lam.action_other_latent"], losses.terms["lam.action"])


def test_no_constant_beats_the_error_of_the_mean():
    system, batch = _system().eval(), tiny_batch()
    best = system.losses(batch, TERMS).metrics["lam.action_of_mean"]
    for constant in torch.randn(20, *batch.actions_BHA.shape[1:], generator=torch.Generator().manual_seed(0)):
        error = ((batch.actions_BHA - 0.3 * constant).square() * batch.action_mask_BHA).sum()
        assert error / batch.action_mask_BHA.sum() >= best


def test_the_state_reaches_the_decoder_when_it_is_asked_for():
    batch = tiny_batch()
    other = dataclasses.replace(
        batch, observation=dataclasses.replace(batch.observation, state_BS=batch.observation.state_BS + 1)
    )
    for state_dim, differs in ((3, True), (0, False)):
        system = _system(state_dim=state_dim).eval()
        assert (_terms(system, other)["lam.action"] != _terms(system, batch)["lam.action"]) == differs


def test_what_does_not_fit_is_refused():
    batch = tiny_batch()
    with pytest.raises(ConfigError, match="choose lam=latbot"):
        LamSystem(lam=tiny_lam(), objective=Clips())
    with pytest.raises(ConfigError, match="clips of 3 frames"):
        _system(frames=3).losses(batch, TERMS)
    with pytest.raises(ConfigError, match="state numbers"):
        _system(state_dim=40).losses(batch, TERMS)
    with pytest.raises(ConfigError, match="one camera"):
        _system().losses(dataclasses.replace(batch, frames_BFVCHW=batch.frames_BFVCHW.repeat(1, 1, 2, 1, 1, 1)), TERMS)
    short = dataclasses.replace(
        batch, actions_BHA=batch.actions_BHA[:, :2], action_mask_BHA=batch.action_mask_BHA[:, :2]
    )
    with pytest.raises(ConfigError, match=r"lam\.decoder\.horizon"):
        _system().losses(short, TERMS)
    with pytest.raises(ConfigError, match="at least 2"):
        tiny_latbot(frames=1)
