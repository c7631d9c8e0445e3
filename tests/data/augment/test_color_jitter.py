"""Colour jitter: torchvision's, the same pixels for the same sample, and never on what a latent action model sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lara.config.build import build
from lara.data.augment.color_jitter import ColorJitter
from lara.errors import ConfigError
from tests.data import flat, worlds

ALL = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
WHERE = {"seed": 3, "step": 5}


def _images(n=6, views=2, size=16):
    return np.random.default_rng(0).integers(0, 256, (n, views, size, size, 3), dtype=np.uint8)


def test_no_strength_is_no_change():
    images = _images()
    off = ColorJitter(brightness=0, contrast=0, saturation=0, hue=0)
    np.testing.assert_array_equal(off(images, index=np.arange(6), **WHERE), images)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_adjustment_is_torchvisions_on_pillow_images(name):
    functional = pytest.importorskip("torchvision.transforms.functional")
    zero = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    jitter = ColorJitter(**{**zero, name: 0.4})
    images, index = _images(), np.arange(6)
    out = jitter(images, index=index, **WHERE)
    which = list(zero).index(name)
    for view in range(2):
        factors, _ = jitter.draw(index=index, view=view, **WHERE)
        for i in range(6):
            factor = float(factors[i, which])
            assert abs(factor - (name != "hue")) <= 0.4
            expected = getattr(functional, f"adjust_{name}")(Image.fromarray(images[i, view]), factor)
            np.testing.assert_array_equal(out[i, view], np.asarray(expected))
    assert (out != images).any(axis=(2, 3, 4)).all()


def test_the_order_that_was_drawn_is_the_one_applied():
    functional = pytest.importorskip("torchvision.transforms.functional")
    names = ("brightness", "contrast", "saturation", "hue")
    images, index = _images(n=12, views=1), np.arange(12)
    out = ALL(images, index=index, **WHERE)
    factors, orders = ALL.draw(index=index, view=0, **WHERE)
    assert len(np.unique(orders, axis=0)) > 4
    for i in range(12):
        expected = Image.fromarray(images[i, 0])
        for which in orders[i]:
            expected = getattr(functional, f"adjust_{names[which]}")(expected, float(factors[i, which]))
        np.testing.assert_array_equal(out[i, 0], np.asarray(expected))


def test_strengths_fill_their_ranges_evenly_and_orders_all_come():
    index = np.arange(20000)
    wide = ColorJitter(brightness=1.5, contrast=0.2, saturation=0.4, hue=0.1)
    factors, orders = wide.draw(index=index, view=1, **WHERE)
    low, high = np.array([0, 0.8, 0.6, -0.1]), np.array([2.5, 1.2, 1.4, 0.1])
    assert (factors >= low).all()
    assert (factors < high).all()
    places = (factors - low) / (high - low)
    np.testing.assert_allclose(places.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(places.std(axis=0), 12**-0.5, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(places.T), np.eye(4), atol=0.03)
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert (np.abs(counts / len(index) - 1 / 24) < 0.006).all()


def test_pixels_depend_on_seed_step_sample_and_view_alone():
    images, index = np.repeat(_images(1, 1), 4, axis=0).repeat(2, axis=1), np.array([7, 3, 7, 9])
    out = ALL(images, index=index, **WHERE)
    np.testing.assert_array_equal(out[0], out[2])  # the same sample, wherever it stands in the batch
    np.testing.assert_array_equal(ALL(images[1:2], index=index[1:2], **WHERE), out[1:2])
    assert out.dtype == np.uint8
    assert out.shape == images.shape
    different = [
        out[0, 0],
        out[0, 1],
        out[1, 0],
        ALL(images, index=index, seed=4, step=5)[0, 0],
        ALL(images, index=index, seed=3, step=6)[0, 0],
    ]
    assert len({x.tobytes() for x in different}) == len(different)


def test_the_input_is_not_written_to():
    images = _images()
    before = images.copy()
    ALL(images, index=np.arange(6), **WHERE)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("wrong", [{"brightness": -0.1}, {"hue": 0.6}, {"contrast": float("inf")}])
def test_strengths_without_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match="strengths"):
        ColorJitter(**wrong)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("jitter") / "set"
    worlds.write(root, (5, 9, 7, 6))
    return root


def _data(root, **changes):
    settings = {
        "root": root,
        "horizon": 4,
        "cameras": ["top", "wrist"],
        "lam_cameras": ["top", "wrist"],
        "image_size": 16,
        "action_dim_max": 3,
        "state_dim_max": 2,
        "embodiment": "toy",
        "validation_fraction": 0.25,
        "cache": False,
    }
    return flat.dataset(**{**settings, **changes})


@pytest.mark.parametrize("lam", [["top", "wrist"], ["top"]], ids=["shared pictures", "own pictures"])
def test_training_images_are_jittered_and_the_latent_action_models_frames_are_not(made, lam):
    plain, on = (
        _data(made, lam_cameras=lam, random_shift=2),
        _data(made, lam_cameras=lam, random_shift=2, color_jitter=ALL),
    )
    a, b = plain.train_batch(2, 6), on.train_batch(2, 6)
    assert torch.equal(a.frames_BFVCHW, b.frames_BFVCHW)  # so both frames of a pair are alike
    assert torch.equal(a.frame_mask_BF, b.frame_mask_BF)
    assert torch.equal(a.actions_BHA, b.actions_BHA)
    before = a.observation.images_BVCHW.permute(0, 1, 3, 4, 2).numpy()
    expected = ALL(before, seed=0, step=2, index=a.index_B.numpy())
    np.testing.assert_array_equal(b.observation.images_BVCHW.permute(0, 1, 3, 4, 2).numpy(), expected)
    assert (expected != before).any(axis=(1, 2, 3, 4)).all()
    assert b.observation.images_BVCHW.is_contiguous()


def test_what_is_not_training_is_not_jittered(made):
    plain, on = _data(made), _data(made, color_jitter=ALL)
    for a, b in zip(plain.validation_batches(batch_size=3), on.validation_batches(batch_size=3), strict=True):
        assert torch.equal(a.observation.images_BVCHW, b.observation.images_BVCHW)
    a, b = plain.batch([0, 3]), on.batch([0, 3])
    assert torch.equal(a.observation.images_BVCHW, b.observation.images_BVCHW)


def test_workers_restarts_and_ranks_change_no_pixel(made):
    on = _data(made, color_jitter=ALL)
    expected = [on.train_batch(step, 4).observation.images_BVCHW for step in range(3)]
    for start, workers in ((0, 0), (1, 1)):
        stream = _data(made, color_jitter=ALL).loader(start_step=start, batch_size=4, workers=workers)
        for step in range(start, 3):
            assert torch.equal(next(stream).observation.images_BVCHW, expected[step])
        stream.close()
    parts = [on.train_batch(1, 4, rank=r, world=2).observation.images_BVCHW for r in range(2)]
    assert torch.equal(torch.cat(parts), expected[1])


def test_a_policy_that_sees_nothing_is_left_alone(made):
    batch = _data(made, cameras=[], color_jitter=ALL).train_batch(0, 4)
    assert batch.observation.images_BVCHW.shape[:2] == (4, 0)


def test_it_comes_from_a_configuration_with_x_vlas_strengths():
    assert build({"_target_": "lara.data.augment.color_jitter.ColorJitter"}, "data") == ColorJitter(
        brightness=0.2, contrast=0.2, saturation=0.2, hue=0.0
    )
