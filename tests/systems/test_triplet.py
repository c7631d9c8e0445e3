"""ALAM and RotVLA: which frames make which pair, what each term moves, what a mask removes."""

import dataclasses
from functools import partial

import pytest
import torch

from lara.errors import ConfigError
from lara.lam.former import MFormer
from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.latents.vq import VQSpace
from lara.nn.softvq import SoftVQ
from lara.systems.lam import LamSystem
from lara.systems.objectives.additive import AdditiveLaws
from lara.systems.objectives.rotation import RotationTriplets
from lara.systems.objectives.triplet import Triplet
from tests.tiny import SIZE, tiny_batch, tiny_lam

N = 4


def _batch(n=6, seed=0):
    frames = torch.randint(
        0, 256, (n, 3, 1, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    return dataclasses.replace(tiny_batch(n), frames_BFVCHW=frames, frame_mask_BF=torch.ones(n, 3, dtype=torch.bool))


def _alam():
    space = AdditiveSpace(dim=8, quantizer=VQSpace(dim=8, codes=16))
    return LamSystem(
        lam=tiny_lam(space=space, former=partial(MFormer, width=32, heads=4, layers=1, difference=True)),
        objective=AdditiveLaws(),
    )


def _rotvla(softvq=True):
    space = RotationSpace(dim=N, softvq=SoftVQ(dim=N, codes=8) if softvq else None)
    return LamSystem(lam=tiny_lam(space=space, queries=N), objective=RotationTriplets())


SYSTEMS = {"alam": _alam, "rotvla": _rotvla}


def _losses(system, batch=None, terms=None):
    return system.losses(batch or _batch(), frozenset(terms or system.terms()))


def test_terms_are_the_papers_and_the_two_laws_without_a_unit():
    papers = ("lam.reconstruction", "lam.commitment", "lam.composition", "lam.reversal")
    assert _alam().terms() == (*papers, "lam.composition_relative", "lam.reversal_relative")
    assert _rotvla().terms() == ("lam.reconstruction", "lam.kl", "lam.composed")
    assert _rotvla(softvq=False).terms() == ("lam.reconstruction", "lam.composed")


def test_a_pair_reads_the_frames_that_its_letters_name():
    lam, batch = _alam().lam, _batch()
    triplet = Triplet.encode(lam, batch)
    frames = batch.frames_BFVCHW[:, :, 0]
    ab, ca = triplet.raw(lam, ["ab", "ca"]).chunk(2)
    torch.testing.assert_close(ab, lam.former(*lam.encode_frames(frames[:, [0, 1]]).unbind(1)))
    torch.testing.assert_close(ca, lam.former(*lam.encode_frames(frames[:, [2, 0]]).unbind(1)))
    assert torch.equal(triplet.frames("cb"), torch.cat([frames[:, 2], frames[:, 1]]))


def test_each_frame_is_encoded_once(monkeypatch):
    for make in SYSTEMS.values():
        system = make()
        seen = []
        forward = system.lam.encoder.forward
        monkeypatch.setattr(
            system.lam.encoder, "forward", lambda f, forward=forward, seen=seen: seen.append(len(f)) or forward(f)
        )
        _losses(system)
        assert sum(seen) == 18


def test_alam_decodes_the_three_forward_pairs_from_first_frame_to_second(monkeypatch):
    """004, Eqs. 6 and 8: the way back is encoded for its law and quantised (Eq. 5), but nothing is painted from it."""
    system, batch = _alam(), _batch(2)
    given, quantised = [], []
    decode, bottleneck = system.lam.decode, system.lam.space.bottleneck
    monkeypatch.setattr(system.lam, "decode", lambda now, z: given.append((now, z)) or decode(now, z))
    monkeypatch.setattr(
        system.lam.space, "bottleneck", lambda z, mask: quantised.append(out := bottleneck(z, mask)) or out
    )
    losses = _losses(system, batch, ["lam.reconstruction"])
    a, b, c = batch.frames_BFVCHW[:, :, 0].unbind(1)
    (now, z), *rest = given
    assert not rest
    assert torch.equal(now, torch.cat([a, b, a]))
    assert len(quantised[0].z) == 4 * len(a)
    assert torch.equal(z, quantised[0].z[: 3 * len(a)])
    target = system.lam.decoder.normalizer(torch.cat([b, c, c]))
    error = (decode(now, z) - target).square().mean()
    torch.testing.assert_close(losses.terms["lam.reconstruction"], error)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_term_moves_encoder_and_former_and_parts_cover_the_system(name):
    system = SYSTEMS[name]()
    covered = [p for part in system.parts().values() for p in part.parameters()]
    assert len(covered) == len({id(p) for p in covered}) == len(list(system.parameters()))
    for term in system.terms():
        system.zero_grad()
        _losses(system, terms=[term]).terms[term].backward()
        for part in ("lam.encoder", "lam.former"):
            assert any(p.grad is not None and p.grad.any() for p in system.parts()[part].parameters()), (term, part)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_frame_past_the_end_touches_only_what_does_not_need_it(name):
    """With c masked, no value of c matters, and the step from a to b still counts."""
    mask = torch.ones(6, 3, dtype=torch.bool)
    mask[:, 2] = False
    values = []
    for fill in (0, 255):
        batch = _batch()
        frames = batch.frames_BFVCHW.clone()
        frames[:, 2] = fill
        torch.manual_seed(0)
        values.append(
            _losses(SYSTEMS[name](), dataclasses.replace(batch, frames_BFVCHW=frames, frame_mask_BF=mask)).terms
        )
    for term in values[0]:
        assert torch.equal(values[0][term], values[1][term]), term
    assert values[0]["lam.reconstruction"] > 0
    assert values[0]["lam.composition" if name == "alam" else "lam.composed"] == 0


def test_an_additive_encoder_has_no_law_error():
    """z_ij = g(j) - g(i) satisfies both laws exactly, whatever g is."""
    system = _alam()
    system.lam.former.forward = lambda now, future: (future - now).mean(dim=1)[:, :16].unflatten(1, (2, 8))
    terms = _losses(system).terms
    assert terms["lam.composition"] < 1e-10
    assert terms["lam.reversal"] < 1e-10


def test_rotvla_latents_are_rotations_and_standing_still_is_the_unit():
    system = _rotvla(softvq=False)
    lam, batch = system.lam, _batch()
    still = dataclasses.replace(batch, frames_BFVCHW=batch.frames_BFVCHW[:, :1].expand(-1, 3, -1, -1, -1, -1))
    triplet = Triplet.encode(lam, still)
    z = lam.space.extract(triplet.raw(lam, ["ab", "bc"]), triplet.mask(["ab", "bc"])).z
    torch.testing.assert_close(z @ z.mT, torch.eye(N).expand_as(z), atol=1e-5, rtol=0)
    gauge = lam.space.gauge(z[:6], triplet.mask(["a"]))
    one = z[:1]
    torch.testing.assert_close(gauge.compose(one, gauge.identity(one)), one, atol=1e-5, rtol=0)


def test_the_ablation_without_triplet_computes_no_second_step(monkeypatch):
    system = _rotvla()
    monkeypatch.setattr(type(system.lam.space), "gauge", lambda *a: pytest.fail("composed for nothing"))
    assert set(_losses(system.train(), terms=["lam.reconstruction"]).terms) == {"lam.reconstruction"}


def test_wrong_spaces_frames_and_acting_are_refused():
    with pytest.raises(ConfigError, match="compose, inverse and identity"):
        LamSystem(lam=tiny_lam(), objective=AdditiveLaws())
    with pytest.raises(ConfigError, match="rotations"):
        LamSystem(lam=tiny_lam(), objective=RotationTriplets())
    with pytest.raises(ConfigError, match="3 frames of at least 1 camera"):
        _losses(_alam(), tiny_batch())
    with pytest.raises(ConfigError, match="cannot act"):
        _alam().act(tiny_batch().observation, steps=1)
