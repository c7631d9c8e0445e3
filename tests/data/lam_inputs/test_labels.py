"""Labels as training data: latents as actions of a body of their own, codes as tokens beside the actions."""

import json

import numpy as np
import pytest
import torch

from lara.data.actions.latent import LatentActions
from lara.data.card import DataCard
from lara.data.lam_inputs.labels import LatentCodes, LatentSteps
from lara.errors import ConfigError, DataError
from lara.label.run import LabelSettings, label
from tests.data import flat
from tests.data.worlds import write
from tests.label.test_run import _columns
from tests.label.worlds import ADDITIVE, joint_run

LENGTHS, GAP, H = (9, 12, 10, 11), 4, 3


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    write(root / "data", LENGTHS)
    for name, space in (("vq", {}), ("plain", {"space": ADDITIVE})):
        run = joint_run(root / f"lam-{name}", gap=GAP, **space)
        label(lam=run, dataset=root / "data", output=root / name, settings=LabelSettings(workers=0))
    return root


def _data(world, **changes):
    settings = {
        "root": world / "data",
        "horizon": H,
        "cameras": ["top"],
        "image_size": 16,
        "action_dim_max": 20,
        "state_dim_max": 4,
        "embodiment": "latent",
        "cache": False,
        "action_normalizer": "mean_std",
    }
    return flat.dataset(**{**settings, **changes})


@pytest.mark.parametrize("column", ["z", "code", "index"])
def test_latents_stand_where_actions_stood(world, column):
    data = _data(world, actions=LatentActions(root=world / "vq", column=column))
    plain = _data(world)
    index = np.arange(sum(LENGTHS))
    batch = data.batch(index)
    columns = _columns(world / "vq")
    values, real, ends = columns[f"latent.{column}"], columns["latent.mask"], np.repeat(np.cumsum(LENGTHS), LENGTHS)
    undo = data.card().normalizer_of_actions()
    for i in index:
        for h in range(H):
            exists = i + h < ends[i] and real[i + h]
            mask = batch.action_mask_BHA[i, h].numpy()
            np.testing.assert_array_equal(mask, (np.arange(20) < values.shape[1]) & exists)
            if exists:
                found = undo.unnormalize(batch.actions_BHA[i, h, : values.shape[1]].numpy())
                np.testing.assert_allclose(found, values[i + h], atol=1e-4)
            else:
                assert not batch.actions_BHA[i, h].any()
    assert not batch.action_mask_BHA[:, :, values.shape[1] :].any()
    plain.prepare()
    assert data.validation_episodes == plain.validation_episodes
    assert torch.equal(batch.observation.images_BVCHW, plain.batch(index).observation.images_BVCHW)
    assert DataCard.from_dict(json.loads(json.dumps(data.card().to_dict()))).robot.action.dim == values.shape[1]


@pytest.mark.parametrize("steps", [1, 2])
def test_codes_stand_beside_the_actions(world, steps):
    data = _data(world, codes=LatentCodes(root=world / "vq", queries=2, steps=steps))
    index = np.arange(sum(LENGTHS))
    batch = data.batch(index)
    assert torch.equal(batch.actions_BHA, _data(world).batch(index).actions_BHA)
    codes, ends = _columns(world / "vq")["latent.index"], np.repeat(np.cumsum(LENGTHS), LENGTHS)
    for i in index:
        for k in range(steps):
            expected = codes[i + k * GAP] if i + k * GAP < ends[i] else [-1, -1]
            assert batch.codes_BT[i, 2 * k : 2 * k + 2].tolist() == list(expected)
    assert (batch.codes_BT[ends - 1] == -1).all()
    assert batch.head(3).codes_BT.shape == (3, 2 * steps)


def test_labels_of_other_data_and_codes_that_are_not_there_are_refused(world, tmp_path):
    write(tmp_path / "data", (9, 12))
    with pytest.raises(DataError, match="another dataset"):
        _data(world, root=tmp_path / "data", actions=LatentActions(root=world / "vq")).prepare()
    with pytest.raises(DataError, match="no codes"):
        _data(world, actions=LatentActions(root=world / "plain", column="index"))
    with pytest.raises(DataError, match="no labels"):
        _data(world, actions=LatentActions(root=world / "data"))
    with pytest.raises(ConfigError, match=r"data\.lam\.codes\.queries=2"):
        _data(world, codes=LatentCodes(root=world / "vq", queries=8)).prepare()
    with pytest.raises(ConfigError, match="action_dim_max"):
        _data(world, action_dim_max=8, actions=LatentActions(root=world / "vq"))


@pytest.mark.parametrize("cameras", [1, 2])
def test_latents_of_every_step_stand_beside_the_actions(world, cameras):
    roots = [world / "plain", world / "vq"][:cameras]
    data = _data(world, latents=LatentSteps(roots=roots, steps=H, dim=16, gap=GAP))
    index = np.arange(sum(LENGTHS))
    batch = data.batch(index)
    assert torch.equal(batch.actions_BHA, _data(world).batch(index).actions_BHA)
    columns, ends = [_columns(root) for root in roots], np.repeat(np.cumsum(LENGTHS), LENGTHS)
    for i in index:
        for k in range(H):
            real = i + k + GAP < ends[i]
            assert batch.latent_mask_BT[i, k] == real
            for v, column in enumerate(columns):
                expected = np.asarray(column["latent.z"][i + k]).reshape(-1) if real else np.zeros(16)
                np.testing.assert_array_equal(batch.latents_BTVD[i, k, v].numpy(), expected.astype(np.float32))
    assert batch.head(3).latents_BTVD.shape == (3, H, cameras, 16)


def test_latents_of_another_kind_or_under_moved_frames_are_refused(world):
    with pytest.raises(ConfigError, match=r"label\.gap=1"):
        _data(world, latents=LatentSteps(roots=[world / "plain"], steps=H, dim=16)).prepare()
    with pytest.raises(ConfigError, match="16 numbers long"):
        _data(world, latents=LatentSteps(roots=[world / "plain"], steps=H, dim=8, gap=GAP)).prepare()
    with pytest.raises(ConfigError, match="random_shift=2"):
        _data(world, random_shift=2, latents=LatentSteps(roots=[world / "plain"], steps=H, dim=16, gap=GAP))
    with pytest.raises(ConfigError, match="at least one root"):
        LatentSteps(roots=[], steps=H, dim=16)
