"""Several cameras in every LAM system: shared LAM, one encoding per frame, and nothing new for one camera."""

import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from lara.losses.alignment import InfoNCE
from lara.systems.lam import LamSystem
from lara.systems.views import beside, fold_views
from tests.systems.test_triplet import SYSTEMS as TRIPLETS
from tests.systems.test_triplet import _batch as triplets
from tests.tiny import open_gates, tiny_batch, tiny_lam, tiny_system

SYSTEMS = {**TRIPLETS, "lara": lambda: LamSystem(lam=tiny_lam())}


def _system(name):
    torch.manual_seed(0)
    return SYSTEMS[name]()


def _batch(name):
    return triplets() if name in TRIPLETS else tiny_batch()


def _views(batch, *cameras):
    """The batch with these camera images (B, F, 1, C, h, w) instead."""
    return dataclasses.replace(batch, frames_BFVCHW=torch.cat(cameras, dim=2))


def _other(batch, seed=5):
    return torch.randint(0, 256, batch.frames_BFVCHW.shape, generator=torch.Generator().manual_seed(seed)).byte()


def _losses(system, batch, *, train=True):
    torch.manual_seed(0)
    return system.train(train).losses(batch, frozenset(system.terms()))


def test_rows_are_camera_by_camera_and_a_missing_frame_is_missing_in_all():
    batch = tiny_batch()
    mask = batch.frame_mask_BF.clone()
    mask[2, 1] = False
    batch = dataclasses.replace(_views(batch, batch.frames_BFVCHW, _other(batch)), frame_mask_BF=mask)
    images, folded = fold_views(batch, 2, hint="")
    for v in range(2):
        for i in range(6):
            assert torch.equal(images[6 * v + i], batch.frames_BFVCHW[i, :, v])
            assert torch.equal(folded[6 * v + i], mask[i])


def test_beside_keeps_samples_together_and_cameras_in_order():
    z = torch.arange(3 * 4 * 2 * 5).reshape(3, 4, 2, 5)
    together = beside(z.flatten(0, 1), 3)
    assert torch.equal(together, torch.cat([z[0], z[1], z[2]], dim=1))


def test_one_camera_is_the_batch_itself():
    batch = tiny_batch()
    images, mask = fold_views(batch, 2, hint="")
    assert images.untyped_storage().data_ptr() == batch.frames_BFVCHW.untyped_storage().data_ptr()
    assert torch.equal(images, batch.frames_BFVCHW[:, :, 0])
    assert torch.equal(mask, batch.frame_mask_BF)


def test_one_camera_gives_the_terms_of_the_pair_alone_bit_for_bit():
    """The LAM's own losses, called by hand as they stand in the model, are the system's."""
    lam, batch = tiny_lam(), tiny_batch()
    frames = batch.frames_BFVCHW[:, :, 0]
    tokens = lam.encode_frames(frames)
    expected = lam.losses(frames, tokens, lam.latent(tokens), batch.frame_mask_BF.all(dim=1), frozenset(lam.terms()))
    found = _losses(LamSystem(lam=tiny_lam()), batch)
    for name, value in expected.terms.items():
        assert torch.equal(found.terms[f"lam.{name}"], value), name


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("train", [True, False])
def test_two_identical_cameras_give_the_terms_and_figures_of_one(name, train):
    batch = _batch(name)
    one = _losses(_system(name), batch, train=train)
    two = _losses(_system(name), _views(batch, batch.frames_BFVCHW, batch.frames_BFVCHW), train=train)
    assert set(one.terms) == set(two.terms)
    # while training, the codes have moved when the commitment is taken, and they move further with twice the samples
    moved = {"lam.commitment"} if train else set()
    for key, value in (one.terms | one.metrics).items():
        if key in moved:
            continue
        torch.testing.assert_close((two.terms | two.metrics)[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", SYSTEMS)
def test_two_cameras_give_the_mean_of_each_alone_in_any_order(name):
    """Reconstruction is a mean over frame pairs; a quantiser's codes are the same for all cameras of one step."""
    batch = _batch(name)
    cameras = batch.frames_BFVCHW, _other(batch)
    alone = [_losses(_system(name), _views(batch, c), train=False).terms["lam.reconstruction"] for c in cameras]
    both = [_losses(_system(name), _views(batch, *order), train=False) for order in (cameras, cameras[::-1])]
    torch.testing.assert_close(both[0].terms["lam.reconstruction"], sum(alone) / 2)
    for key, value in both[0].terms.items():
        torch.testing.assert_close(both[1].terms[key], value, rtol=1e-4, atol=1e-6, msg=key)
    assert abs(alone[0] - alone[1]) > 1e-4


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_frame_of_each_camera_is_encoded_once(name, monkeypatch):
    system, batch = _system(name), _batch(name)
    seen, forward = [], system.lam.encoder.forward
    monkeypatch.setattr(system.lam.encoder, "forward", lambda f: seen.append(len(f)) or forward(f))
    batch = _views(batch, batch.frames_BFVCHW, _other(batch))
    _losses(system, batch)
    assert sum(seen) == batch.frames_BFVCHW.shape[:3].numel()


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_no_camera_shows_is_refused(name):
    batch = _batch(name)
    with pytest.raises(ConfigError, match="at least 1 camera"):
        _losses(_system(name), dataclasses.replace(batch, frames_BFVCHW=batch.frames_BFVCHW[:, :, :0]))
    one = {"frames_BFVCHW": batch.frames_BFVCHW[:, :1], "frame_mask_BF": batch.frame_mask_BF[:, :1]}
    with pytest.raises(ConfigError, match="frames of at least"):
        _losses(_system(name), dataclasses.replace(batch, **one))


@pytest.mark.parametrize("pool", ["concat", "mean"])
@pytest.mark.parametrize("target", ["online", "ema"])
def test_alignment_sees_the_views_side_by_side_in_order(pool, target):
    batch = tiny_batch()
    batch = _views(batch, batch.frames_BFVCHW, _other(batch))
    system = tiny_system(views=2, pool=pool, target=target, objective=InfoNCE)
    width = 2 * (system.lam.latent_dim if pool == "concat" else system.lam.space.dim)
    assert system.coupling.projector[-1].out_features == width
    given, objective = [], system.coupling.objective.forward
    system.coupling.objective.forward = lambda z, p, mask: given.append(z) or objective(z, p, mask)
    _losses(system, batch)
    each = [system.lam.encode(batch.frames_BFVCHW[:, :, v]).z_BQD for v in range(2)]
    each = [z.flatten(1) if pool == "concat" else z.mean(dim=1) for z in each]
    torch.testing.assert_close(given[0], torch.cat(each, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_a_sample_without_a_future_is_aligned_in_no_view(fraction):
    batch = tiny_batch()
    mask = batch.frame_mask_BF.clone()
    mask[0, 1] = False
    values = []
    for fill in (0, 255):
        frames = torch.cat([batch.frames_BFVCHW, _other(batch)], dim=2)
        frames[0, 1] = fill
        system = tiny_system(views=2, fraction=fraction)
        open_gates(system)
        changed = dataclasses.replace(batch, frames_BFVCHW=frames, frame_mask_BF=mask)
        values.append(_losses(system, changed).terms)
    for key, value in values[0].items():
        assert torch.equal(value, values[1][key]), key


def test_a_wrong_number_of_views_is_answered_with_the_right_setting():
    batch = tiny_batch()
    with pytest.raises(ConfigError, match=r"latents come from 2 cameras; set\s+align\.views"):
        _losses(tiny_system(), _views(batch, batch.frames_BFVCHW, batch.frames_BFVCHW))
    with pytest.raises(ConfigError, match=r"align\.views"):
        tiny_system(views=0)


@pytest.mark.parametrize("pool", ["concat", "mean"])
def test_pooling_of_one_view_is_what_it_was_bit_for_bit(pool):
    system, batch = tiny_system(pool=pool), tiny_batch()
    given, objective = [], system.coupling.objective.forward
    system.coupling.objective.forward = lambda z, p, mask: given.append(z) or objective(z, p, mask)
    _losses(system, batch)
    z = system.lam.encode(batch.frames_BFVCHW[:, :, 0]).z_BQD
    assert torch.equal(given[0], z.flatten(1) if pool == "concat" else z.mean(dim=1))
