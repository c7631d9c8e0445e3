"""What `lara export lam` cuts out is the LAM, whole, and nothing of its surroundings."""

import json

import pytest
import torch
from safetensors import safe_open

from lara.cli import main
from lara.errors import CheckpointError
from lara.serve.load import load_lam, load_system
from lara.store.export import read_export
from lara.train.load_parts import load_parts
from tests.label.worlds import joint_run
from tests.tiny import tiny_batch, tiny_system


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return joint_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "lam"
    assert main(["export", "lam", f"checkpoint={run}", f"output={folder}"]) == 0
    return folder


def test_only_the_lam_is_inside_and_all_of_it(run, exported):
    system, _ = load_system(run)
    assert {p.name for p in exported.iterdir()} == {"config.json", "model.safetensors", "card.json", "manifest.json"}
    with safe_open(exported / "model.safetensors", framework="pt") as file:
        keys = set(file.keys())
    assert keys == {f"lam.{k}" for k in system.lam.state_dict()}
    numbers = sum(t.numel() * t.element_size() for t in system.lam.state_dict().values())
    header = (exported / "model.safetensors").stat().st_size - numbers
    assert 0 < header < 200 * len(keys) + 1000
    config = json.loads((exported / "config.json").read_text())
    assert set(config["system"]) == {"_target_", "lam"}
    words = (exported / "config.json").read_text() + (exported / "card.json").read_text()
    assert "FlowExpert" not in words
    assert "Alignment" not in words


def test_its_latents_are_the_runs_own(run, exported):
    frames = tiny_batch(5).frames_BFVCHW[:, :, 0]
    system, _ = load_system(run)
    lam, saved = load_lam(exported)
    assert not lam.training
    assert saved.step == 3
    assert saved.card["frame_gap"] == 4
    with torch.no_grad():
        assert torch.equal(lam.encode(frames).z_BQD, system.lam.encode(frames).z_BQD)


def test_a_stage_starts_from_it_and_an_export_can_be_exported_again(exported, tmp_path):
    system = tiny_system(lam={"seed": 5})
    before = system.state_dict()["policy.expert.robot.positions"].clone()
    counts = load_parts(system, {"lam": exported})
    lam, _ = load_lam(exported)
    assert set(counts) == {f"lam.{name}" for name in lam.parts()}
    for name, value in lam.state_dict().items():
        assert torch.equal(system.lam.state_dict()[name], value), name
    assert torch.equal(system.state_dict()["policy.expert.robot.positions"], before)
    assert main(["export", "lam", f"checkpoint={exported}", f"output={tmp_path}/again"]) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (exported / "model.safetensors").read_bytes()


def test_a_changed_byte_is_noticed(exported, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256"):
        read_export(copy)


@pytest.mark.parametrize("arguments", [[], ["lamm"], ["lam"], ["lam", "checkpoint=x"], ["lam", "checkpoint=x", "o=y"]])
def test_wrong_words_are_answered_with_the_right_ones(arguments, capsys):
    assert main(["export", *arguments]) == 2
    assert "lara export lam" in capsys.readouterr().err


def test_an_existing_folder_is_never_overwritten(run, exported, capsys):
    assert main(["export", "lam", f"checkpoint={run}", f"output={exported}"]) == 2
    assert "exists already" in capsys.readouterr().err
