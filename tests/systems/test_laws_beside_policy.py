"""ALAM's laws and RotVLA's triplets kept on while the LAM is aligned with a policy: nothing of either side changes."""

import copy
import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from lara.losses.alignment import RawCosine
from lara.systems.couplings.alignment import Alignment
from lara.systems.lam import LamSystem
from lara.systems.lara import Lara
from lara.systems.objectives.additive import AdditiveLaws
from lara.systems.objectives.pairs import Pairs
from lara.systems.objectives.rotation import RotationTriplets
from tests.systems.test_triplet import _alam, _batch, _rotvla
from tests.tiny import open_gates, tiny_lam, tiny_policy

KINDS = {"additive": (_alam, AdditiveLaws), "rotation": (_rotvla, RotationTriplets)}


def _joint(kind, objective=None, **align):
    make, laws = KINDS[kind]
    torch.manual_seed(0)
    lam = make().lam
    system = Lara(
        policy=tiny_policy(),
        lam=lam,
        coupling=Alignment(objective=RawCosine, **align),
        objective=objective or laws(),
    )
    open_gates(system)
    return system


def _terms(system, batch, terms):
    torch.manual_seed(1)
    return system.losses(batch, frozenset(terms)).terms


@pytest.mark.parametrize("kind", KINDS)
def test_the_terms_of_the_lam_are_those_it_has_alone(kind):
    joint = _joint(kind)
    own = LamSystem(lam=copy.deepcopy(joint.lam), objective=KINDS[kind][1]())
    assert joint.terms() == ("action", "align", *own.terms())
    found, expected = _terms(joint, _batch(), joint.terms()), _terms(own, _batch(), own.terms())
    assert all(torch.equal(found[name], expected[name]) for name in own.terms())


@pytest.mark.parametrize("target", ["online", "ema"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_policy_is_aligned_with_the_step_from_the_first_frame_to_the_last(kind, target):
    batch, ends = _batch(), [0, 2]
    mask = batch.frame_mask_BF.clone()
    mask[0, 2] = mask[1, 1] = False
    batch = dataclasses.replace(batch, frame_mask_BF=mask)
    pair = dataclasses.replace(
        batch, frames_BFVCHW=batch.frames_BFVCHW[:, ends], frame_mask_BF=batch.frame_mask_BF[:, ends]
    )
    laws, pairs = _joint(kind, target=target), _joint(kind, Pairs(), target=target)
    asked = ("action", "align")
    with_laws, with_pairs = _terms(laws, batch, asked), _terms(pairs, pair, asked)
    for name in asked:
        torch.testing.assert_close(with_laws[name], with_pairs[name])
    # nor does asking for the laws change it
    everything = _terms(laws, batch, laws.terms())
    torch.testing.assert_close(everything["align"], with_pairs["align"])


@pytest.mark.parametrize(("kind", "rows"), [("additive", 4), ("rotation", 4)])
def test_no_frame_is_encoded_and_no_pair_read_twice(kind, rows, monkeypatch):
    # additive: ab, bc, ac, ba. rotation: ab, bc, the unit aa, and ac for the policy
    system, batch = _joint(kind), _batch()
    encoded, read = [], []
    encode, form = system.lam.encoder.forward, system.lam.former.forward
    monkeypatch.setattr(system.lam.encoder, "forward", lambda x: encoded.append(len(x)) or encode(x))
    monkeypatch.setattr(system.lam.former, "forward", lambda a, b: read.append(len(a)) or form(a, b))
    system.train().losses(batch, frozenset(system.terms()))
    assert sum(encoded) == 3 * len(batch)
    assert sum(read) == rows * len(batch)


@pytest.mark.parametrize(
    ("kind", "law"), [("additive", "lam.composition"), ("additive", "lam.reversal"), ("rotation", "lam.composed")]
)
def test_a_law_teaches_the_lam_and_not_the_policy(kind, law):
    system = _joint(kind)
    _terms(system, _batch(), [law])[law].backward()
    felt = {name.split(".")[0] for name, p in system.named_parameters() if p.grad is not None and p.grad.any()}
    assert felt == {"lam"}
    assert all(p.grad.any() for p in system.lam.encoder.parameters())
    assert all(p.grad.any() for name, p in system.lam.former.named_parameters() if "key_value.bias" not in name)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="compose, inverse and identity"):
        LamSystem(lam=tiny_lam(), objective=AdditiveLaws())
    with pytest.raises(ConfigError, match="are rotations"):
        LamSystem(lam=_alam().lam, objective=RotationTriplets())
    with pytest.raises(ConfigError, match=r"system\.objective=null"):
        Lara(policy=tiny_policy(), objective=AdditiveLaws())
    batch = _batch()
    pair = dataclasses.replace(
        batch, frames_BFVCHW=batch.frames_BFVCHW[:, :2], frame_mask_BF=batch.frame_mask_BF[:, :2]
    )
    with pytest.raises(ConfigError, match="reads 3 frames"):
        _joint("additive").losses(pair, frozenset({"align"}))
