"""A part comes from another run whole, or not at all."""

from __future__ import annotations

import pytest
import torch

from lara.errors import CheckpointError, ConfigError
from lara.store.checkpoint import read_checkpoint
from lara.train.load_parts import load_parts
from tests.train.toy import Toy, run


def test_parts_are_loaded_whole_and_only_those(tmp_path):
    source = Toy(seed=1)
    run(tmp_path, system=source, steps=2)
    system = Toy(seed=2)
    before = {k: v.clone() for k, v in system.state_dict().items()}
    counts = load_parts(system, {"lam": tmp_path})
    assert counts == {"lam.encoder": 7, "lam.target": 2}
    for name, value in system.state_dict().items():
        origin = source.state_dict() if name.startswith(("encoder.", "target.")) else before
        assert torch.equal(value, origin[name]), name
    load_parts(system, {"lam.encoder": tmp_path}, ema=True)
    assert torch.equal(system.encoder.code, read_checkpoint(tmp_path).tensors("ema")["encoder.code"])


class Elsewhere(Toy):
    """The same parts, at another place in the module tree; one hook after loading."""

    def __init__(self):
        super().__init__(seed=5)
        self.box = torch.nn.ModuleDict({"inner": self.encoder})
        del self._modules["encoder"]
        self.loaded = 0

    @property
    def encoder_(self):
        return self.box["inner"]

    def parts(self):
        return {
            "vision.backbone": self.backbone,
            "lam.encoder": self.encoder_,
            "lam.target": self.target,
            "policy.expert": self.expert,
        }

    def after_load(self):
        self.loaded += 1


def test_a_part_is_found_by_its_name_wherever_it_sits(tmp_path):
    source = Toy(seed=1)
    run(tmp_path, system=source, steps=2)
    system = Elsewhere()
    load_parts(system, {"lam": tmp_path, "policy": tmp_path})
    assert torch.equal(system.encoder_.linear.weight, source.encoder.linear.weight)
    assert system.loaded == 1
    load_parts(system, {})
    assert system.loaded == 1


def test_a_part_that_does_not_fit_changes_nothing(tmp_path):
    run(tmp_path, steps=2)
    system = Toy(seed=2)
    system.encoder.linear = torch.nn.Linear(6, 5)
    system.encoder.extra = torch.nn.Linear(2, 2)
    before = {k: v.clone() for k, v in system.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"lam\.encoder: 5 of 9 tensors; 2 missing \(extra\.bias.*2 of another shape"
    ):
        load_parts(system, {"policy": tmp_path, "lam": tmp_path})
    assert all(torch.equal(v, before[k]) for k, v in system.state_dict().items())
    with pytest.raises(ConfigError, match=r"stage\.load names 'lan'"):
        load_parts(system, {"lan": tmp_path})
    with pytest.raises(ConfigError, match="twice"):
        load_parts(Toy(), {"lam": tmp_path, "lam.encoder": tmp_path})


def test_a_stage_starts_from_another_stage(tmp_path):
    first = Toy(seed=1)
    run(tmp_path / "one", system=first, steps=2, learn=("lam",))
    second = Toy(seed=2)
    run(
        tmp_path / "two",
        system=second,
        steps=2,
        learn=("policy",),
        load={"lam.encoder": str(tmp_path / "one"), "policy": None},
    )
    encoder = {k: v for k, v in second.state_dict().items() if k.startswith("encoder.")}
    assert all(torch.equal(v, first.state_dict()[k]) for k, v in encoder.items())
    assert len(encoder) == 7
