"""A sliding window over tokens gives what the LAM gives on every pair, and encodes no frame twice."""

import numpy as np
import pytest
import torch

from lara.errors import ConfigError, DataError
from lara.label.encode import label_frames
from lara.latents.additive import AdditiveSpace
from lara.latents.fsq import FSQSpace
from lara.latents.vq import VQSpace
from tests.tiny import SIZE, tiny_lam

LENGTHS = (5, 1, 9, 3, 4, 12)
GAP = 3
SPACES = {
    "vq": lambda: VQSpace(dim=8, codes=16),
    "fsq": lambda: FSQSpace(dim=8, levels=[3, 3, 3]),
    "additive": lambda: AdditiveSpace(dim=8),
    "additive+vq": lambda: AdditiveSpace(dim=8, quantizer=VQSpace(dim=8, codes=7)),
}


class Counting(torch.nn.Module):
    """An encoder that remembers how often it saw every frame."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.seen = encoder, []
        self.tokens, self.width = encoder.tokens, encoder.width

    def forward(self, frames):
        self.seen += [frame.numpy().tobytes() for frame in frames]
        return self.encoder(frames)


def _frames(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)


def _chunks(frames, sizes=(4, 1, 7, 2)):
    begin, k = 0, 0
    while begin < len(frames):
        yield frames[begin : begin + sizes[k % len(sizes)]]
        begin, k = begin + sizes[k % len(sizes)], k + 1


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_labels_are_the_online_models(space, batch):
    lam = tiny_lam(space=SPACES[space]()).eval()
    frames = _frames(sum(LENGTHS))
    labels = label_frames(lam, _chunks(frames), LENGTHS, gap=GAP, batch_size=batch)
    ends = np.repeat(np.cumsum(LENGTHS), LENGTHS)
    now = np.flatnonzero(np.arange(len(frames)) + GAP < ends)
    assert labels.mask_N.sum() == len(now) == sum(max(0, n - GAP) for n in LENGTHS)
    assert labels.mask_N[now].all()
    pairs = torch.from_numpy(np.stack([frames[now], frames[now + GAP]], 1).transpose(0, 1, 4, 2, 3).copy())
    with torch.no_grad():
        z = lam.encode(pairs).z_BQD
    np.testing.assert_allclose(labels.z_NX[now], z.flatten(1).numpy(), atol=1e-5, rtol=0)
    assert not labels.z_NX[~labels.mask_N].any()
    if space == "additive":
        assert labels.index_NQ is None
        assert labels.code_NX is None
        return
    through = lam.space.bottleneck(z, torch.ones(len(z), dtype=torch.bool)).z
    np.testing.assert_allclose(labels.code_NX[now], through.detach().flatten(1).numpy(), atol=1e-5, rtol=0)
    assert (labels.index_NQ[now] >= 0).all()
    assert (labels.index_NQ[~labels.mask_N] == -1).all()


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_every_frame_is_encoded_exactly_once(batch):
    lam = tiny_lam().eval()
    lam.encoder = Counting(lam.encoder)
    frames = _frames(sum(LENGTHS))
    labels = label_frames(lam, _chunks(frames), LENGTHS, gap=GAP, batch_size=batch)
    assert labels.encoded == len(frames)
    assert sorted(lam.encoder.seen) == sorted(f.transpose(2, 0, 1).tobytes() for f in frames)


def test_an_episode_does_not_know_its_neighbours():
    lam = tiny_lam().eval()
    frames = _frames(sum(LENGTHS))
    other = frames.copy()
    other[: LENGTHS[0]] = _frames(LENGTHS[0], seed=9)
    a, b = (label_frames(lam, _chunks(f), LENGTHS, gap=GAP, batch_size=4) for f in (frames, other))
    assert not np.array_equal(a.z_NX[: LENGTHS[0]], b.z_NX[: LENGTHS[0]])
    np.testing.assert_array_equal(a.z_NX[LENGTHS[0] :], b.z_NX[LENGTHS[0] :])


def test_what_cannot_be_is_refused():
    lam = tiny_lam()
    with pytest.raises(ConfigError, match="eval mode"):
        label_frames(lam, [_frames(4)], [4], gap=1, batch_size=2)
    lam.eval()
    for wrong in (3, 5):
        with pytest.raises(DataError, match="frames"):
            label_frames(lam, [_frames(wrong)], [4], gap=1, batch_size=2)
    with pytest.raises(ConfigError, match="positive"):
        label_frames(lam, [_frames(4)], [4], gap=0, batch_size=2)
