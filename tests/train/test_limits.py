"""What nobody means to start by accident is refused, by name, before anything large is built; the small ones start."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lara.launch
from lara.config.build import build
from lara.config.compose import compose, resolved
from lara.errors import ConfigError, DataError
from lara.launch import launch
from lara.systems.system import System
from lara.train.limits import require_meant
from lara.train.stage import Stage, apply_stage
from tests.train.toy import Toy

HOST = [
    "policy=pi0_paper",
    "peft=full",
    "stage=joint_posttrain",
    "+stage.load.policy=null",
    "+stage.load.lam=null",
    "state_dim=32",
]


def paper(tmp_path, *more):
    given = [*HOST, "data.root=/nowhere", f"output={tmp_path}/run", "runtime=cpu", *more]
    return resolved(compose("train", given))


def test_a_paper_size_run_is_refused_with_every_reason_before_data_weights_or_tokenizer_are_asked_for(tmp_path):
    config = paper(tmp_path)
    config["system"]["policy"]["tokenizer"] = {
        "_target_": "lara.policy.hosts.shared.tokenizer.WordHashTokenizer",
        "vocabulary": 512,
    }
    with pytest.raises(ConfigError) as error:
        launch(config)
    text = str(error.value)
    assert "policy.path=null: 3." in text  # 3 G parameters and more
    assert "insist=[random_weights]" in text
    assert "stage.load.lam=null" in text
    assert "insist=[random_lam]" in text
    assert "runtime=one_gpu or runtime=ddp" in text
    with pytest.raises(DataError, match="/nowhere"):  # insisted on, it comes as far as the data
        launch({**config, "insist": ["random_weights", "random_lam", "cpu"]})


def test_a_device_that_is_not_there_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"runtime\.device=cuda"):
        launch({**paper(tmp_path), "runtime": {**paper(tmp_path)["runtime"], "device": "cuda"}})


class Large(System):
    """The sizes of a host beside a LAM, on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            self.policy, self.lam = nn.Linear(8_000, 8_000), nn.Linear(8_000, 8_000)

    def parts(self):
        return {"policy": self.policy, "lam": self.lam}

    def terms(self):
        return ("action",)

    def losses(self, batch, terms):
        raise AssertionError("nothing is trained here")


def meant(*, on_cpu=False, precision="fp32", load=None, path=None, insist=()):
    load = {"lam": "run"} if load is None else load
    stage = Stage(name="s", learn=("policy", "lam"), weights={"action": 1.0}, steps=1, load=load)
    config = {"insist": list(insist), "system": {"policy": {"path": path}, "lam": {}}, "stage": {"load": load}}
    require_meant(config, apply_stage(Large(), stage), stage, on_cpu=on_cpu, precision=precision)


def test_each_reason_by_itself_and_what_removes_it():
    meant(path="folder")
    meant(load={"policy": "run", "lam": "run"})
    with pytest.raises(ConfigError, match=r"policy\.path=null: 64 M parameters of Linear"):
        meant()
    meant(insist=["random_weights"])
    with pytest.raises(ConfigError, match=r"stage\.load\.lam=null"):
        meant(path="folder", load={"lam": None})
    with pytest.raises(ConfigError, match=r"stage\.load\.lam\.encoder=null"):
        meant(path="folder", load={"lam": {"encoder": None, "former": "run"}})
    meant(path="folder", load={"lam": None}, insist=["random_lam"])
    meant(path="folder", load={})  # a stage without a place for a LAM's weights begins with fresh ones
    with pytest.raises(ConfigError, match="insist knows no 'gpu'"):
        meant(insist=["gpu"])


def test_a_processor_is_refused_only_for_many_learning_parameters_in_float32(monkeypatch):
    monkeypatch.setattr("lara.train.limits.LARGE_ON_CPU", 100_000_000)
    with pytest.raises(ConfigError, match="128 M parameters would learn on a processor in float32, with 2 GiB"):
        meant(path="folder", on_cpu=True)
    meant(path="folder", on_cpu=True, precision="bf16")
    meant(path="folder", on_cpu=False)
    meant(path="folder", on_cpu=True, insist=["cpu"])


@pytest.mark.parametrize("policy", ["pi0_tiny", "smolvla_tiny", "groot_n15_tiny"])
def test_tiny_hosts_with_random_weights_and_a_random_lam_start(policy):
    more = [f"policy={policy}", "lam=patches", "stage.weights.lam.lpips=null", "slots=32", "horizon=8"]
    config = resolved(compose("train", [*HOST, "data.root=x", "image_size=64", "runtime=cpu", *more]))
    stage = build(config["stage"], "run")
    with torch.device("meta"):
        system = build(config["system"], "model").to("meta")
    require_meant(config, apply_stage(system, stage), stage, on_cpu=True, precision="fp32")


class Untouched:
    """Data that must not be asked for anything."""

    robot = property(lambda self: pytest.fail("asked for"))
    prepare = card = property(lambda self: pytest.fail("prepared before the system was found to fit"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"action": 1.0}}, "must weigh exactly the terms"),
        ({"learn": ("polizy",)}, "no part of the system"),
        ({"load": {"policy": "/nowhere"}}, "/nowhere"),
        ({"lr_scale": {"polizy": 0.5}}, "no part of the system"),
        ({"resume": "must"}, "holds no checkpoint"),
    ],
)
def test_what_needs_no_data_fails_before_the_data_is_prepared(tmp_path, changes, message):
    from lara.errors import LaraError
    from tests.train.toy import run

    with pytest.raises(LaraError, match=message):
        run(tmp_path, system=Toy(), data=Untouched(), **changes)


def test_nothing_is_built_for_a_run_that_is_finished(tmp_path, monkeypatch):
    from lara.train.resume import finished_before
    from tests.train.toy import run

    run(tmp_path, steps=2, config={"optim": {"lr": 1}})
    stage = Stage(name="s", learn=("policy",), weights={"action": 1.0}, steps=2)
    assert finished_before(tmp_path, stage=stage, config={"optim": {"lr": 1}}).finished
    longer = Stage(name="s", learn=("policy",), weights={"action": 1.0}, steps=3)
    assert finished_before(tmp_path, stage=longer, config={"optim": {"lr": 1}}) is None
    assert finished_before(tmp_path / "other", stage=stage, config={}) is None
    with pytest.raises(ConfigError, match=r"optim\.lr: 1 in the checkpoint, 2 now"):
        finished_before(tmp_path, stage=stage, config={"optim": {"lr": 2}})
    assert lara.launch.finished_before is finished_before
