"""A stage's decisions: what learns, what is frozen in every sense, what a weight is worth when."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lara.errors import ConfigError
from lara.train.parts import part_of_parameters
from lara.train.stage import Stage, Weight, apply_stage
from tests.train.toy import WEIGHTS, Toy, run


def stage(**changes) -> Stage:
    return Stage(**{"name": "s", "learn": ("policy",), "weights": WEIGHTS, "steps": 4, **changes})


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (Weight(0.5), [0.5] * 6),
        (Weight(None), [None] * 6),
        (Weight(0.0), [0.0] * 6),
        (Weight(0.8, "linear", 4), [0.8, 0.6, 0.4, 0.2, 0.0, 0.0]),
        (Weight(0.8, "stop", 4), [0.8, 0.8, 0.8, 0.8, None, None]),
    ],
)
def test_weight_over_time(weight, expected):
    assert [weight.at(step) for step in range(6)] == pytest.approx(expected)


@pytest.mark.parametrize(
    "arguments",
    [(1.0, "linear"), (1.0, "stop", 0), (1.0, "constant", 3), (1.0, "cosine", 3), ("1",), (float("nan"),), (True,)],
)
def test_impossible_weights_are_refused(arguments):
    with pytest.raises(ConfigError):
        Weight(*arguments)


def test_weights_nest_and_accept_every_spelling():
    made = stage(
        weights={"action": 1, "align": Weight(2.0), "lam": {"size": {"value": 3.0, "schedule": "stop", "steps": 9}}}
    )
    assert made.weights == {"action": Weight(1), "align": Weight(2.0), "lam.size": Weight(3.0, "stop", 9)}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"action": 1.0, "align": 1.0}, "lam.size"),
        ({"action": 1.0, "align": 1.0, "lam.size": 1.0, "lam.sise": 1.0}, "Did you mean 'lam.size'"),
    ],
)
def test_terms_of_stage_and_system_must_be_equal(weights, said):
    with pytest.raises(ConfigError, match=said):
        apply_stage(Toy(), stage(weights=weights))


def test_switching_off_a_term_that_does_not_exist_is_harmless():
    made = stage(weights={**WEIGHTS, "lam": {"size": 1.0, "lpips": None}})
    apply_stage(Toy(), made)
    assert made.skips_terms(Toy().terms()) is False
    assert made.skips_terms(["lam.lpips"]) is True
    with pytest.raises(ConfigError, match=r"lam\.lpips"):
        apply_stage(Toy(), stage(weights={**WEIGHTS, "lam": {"size": 1.0, "lpips": 0.0}}))


def test_a_stage_that_learns_nothing_is_refused():
    with pytest.raises(ConfigError, match="nothing would be learned"):
        stage(weights={"action": {"value": 1.0, "schedule": "stop", "steps": 3}, "align": None, "lam.size": None})
    with pytest.raises(ConfigError, match="frozen by its part"):
        apply_stage(Toy(), stage(learn=("lam.target",)))


def test_unknown_part_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"polcy.*Did you mean 'policy"):
        apply_stage(Toy(), stage(learn=("polcy",)))
    with pytest.raises(ConfigError, match="no part"):
        apply_stage(Toy(), stage(learn=("pol",)))  # a prefix ends at a dot


class Leaky(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.forgotten = nn.Parameter(torch.zeros(2))


class Doubled(Toy):
    def parts(self):
        return {**super().parts(), "policy.head": self.expert.head}


def test_parts_cover_every_parameter_exactly_once():
    assert set(part_of_parameters(Toy())) == {name for name, _ in Toy().named_parameters()}
    with pytest.raises(ConfigError, match="in no part: forgotten"):
        apply_stage(Leaky(), stage())
    with pytest.raises(
        ConfigError, match=r"more than one part: expert\.head\.weight \(in policy\.expert, policy\.head\)"
    ):
        apply_stage(Doubled(), stage())


def test_only_what_the_stage_names_and_the_part_allows_learns():
    system = Toy()
    learning = apply_stage(system, stage(learn=("policy", "lam"))).learning
    expected = {n for n, _ in system.named_parameters() if n.startswith(("expert.", "encoder."))}
    expected -= {"encoder.pretrained.weight", "encoder.pretrained.bias"}
    assert set(learning) == expected == {n for n, p in system.named_parameters() if p.requires_grad}


def test_a_later_stage_thaws_what_an_earlier_one_froze_and_nothing_else():
    system = Toy()
    apply_stage(system, stage(learn=("policy",)))
    assert not system.encoder.linear.weight.requires_grad
    apply_stage(system, stage(learn=("lam",)))
    assert system.encoder.linear.weight.requires_grad
    assert not system.expert.head.weight.requires_grad
    assert not system.encoder.pretrained.weight.requires_grad
    assert not system.target.weight.requires_grad


def test_frozen_parts_stay_in_eval_mode_and_learning_ones_train():
    system = Toy()
    applied = apply_stage(system, stage(learn=("policy", "lam")))
    for _ in range(2):
        assert not any(m.training for m in system.backbone.modules())
        assert all(m.training for m in [*system.encoder.modules(), *system.expert.modules()])
        system.train()
        applied.train()


def test_frozen_parts_are_bit_unchanged_by_training(tmp_path):
    system = Toy()
    before = {k: v.clone() for k, v in system.state_dict().items()}
    run(tmp_path, system=system, steps=3)
    changed = {k for k, v in system.state_dict().items() if not torch.equal(v, before[k])}
    frozen = {k for k in before if k.startswith(("backbone.", "encoder.pretrained."))}
    assert frozen
    assert not changed & frozen
    assert changed >= {"expert.head.weight", "encoder.linear.weight", "encoder.code", "encoder.count", "target.weight"}


def test_terms_without_weight_are_not_asked_for(tmp_path):
    system = Toy()
    run(tmp_path, system=system, steps=6, validation_limit=0)  # lam.size stops at 5
    everything = frozenset(system.terms())
    assert system.asked == [everything] * 5 + [everything - {"lam.size"}]


def test_a_null_weight_means_never_computed(tmp_path):
    system = Toy()
    run(tmp_path, system=system, steps=2, weights={"action": 1.0, "align": None, "lam.size": 0.0})
    assert set(system.asked) == {frozenset({"action", "lam.size"})}


def test_places_to_load_from_may_be_nested_like_weights():
    made = {"name": "x", "learn": ("a",), "weights": {"t": 1.0}, "steps": 1}
    nested = Stage(**made, load={"lam": {"encoder": "p", "space": None}, "policy": "q"})
    assert nested.load == {"lam.encoder": "p", "policy": "q"}


class Weighing(Toy):
    """A toy whose encoder brings weights for two terms of its side."""

    def __init__(self, **defaults):
        super().__init__()
        self.encoder.default_weights = lambda: defaults


def test_the_weight_of_a_part_multiplies_the_weights_that_the_part_brings():
    weights = {"action": 1.0, "align": None, "lam": {"encoder": {"value": 0.1, "schedule": "stop", "steps": 3}}}
    spelt = stage(weights=weights).for_system(Weighing(size=0.5, shape=2.0))
    assert spelt.weights["lam.size"] == Weight(0.05, "stop", 3)
    assert spelt.weights["lam.shape"] == Weight(0.2, "stop", 3)
    assert "lam.encoder" not in spelt.weights
    assert stage(weights=weights).for_system(Weighing()).weights == {"action": Weight(1.0), "align": Weight(None)}


def test_a_term_that_the_stage_names_stands_above_its_part_and_null_switches_a_part_off():
    weights = {"action": 1.0, "lam": {"encoder": 1.0, "size": None}}
    assert stage(weights=weights).for_system(Weighing(size=0.5)).weights["lam.size"] == Weight(None)
    weights = {"action": 1.0, "lam": {"encoder": None}}
    assert stage(weights=weights).for_system(Weighing(size=0.5)).weights["lam.size"] == Weight(None)


def test_a_part_without_weights_of_its_own_cannot_be_weighed():
    with pytest.raises(ConfigError, match="brings no weights"):
        stage(weights={"action": 1.0, "lam": {"encoder": 1.0}}).for_system(Toy())
