"""An exported policy acts as the trained one did, under the base model's names, and no byte of the LAM is inside."""

import functools
import json
import os
import random
import re
import subprocess

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lara.cli import main
from lara.data.card import Cards
from lara.errors import CheckpointError, ConfigError
from lara.export.policy import export_policy
from lara.policy.policy import Policy
from lara.policy.tuning import merge
from lara.serve.load import load_policy_side, load_system
from lara.serve.policy import load_policy
from lara.store.checkpoint import read_checkpoint
from lara.store.export import FILES, read_saved
from lara.store.manifest import write_manifest
from lara.train.load_parts import load_parts
from tests.test_whole_program import SMALL

VENDOR = os.environ.get("LARA_LEROBOT_PYTHON")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two joint runs of two steps: without adapters, and with."""
    root = tmp_path_factory.mktemp("export")
    collect = ["collect", "benchmark=toy", "tasks=[reach-red,reach-blue]", "episodes=2", f"output={root}/data"]
    assert main([*collect, "processes=1"]) == 0
    common = ["experiment=demo/lara", f"data.root={root}/data", *SMALL, "data.cameras=[top]", "data.lam.cameras=[top]"]
    given = [*common, "stage.steps=2", "stage.load={}", "optim.lr=0.01"]
    assert main(["train", *given, f"output={root}/plain"]) == 0
    assert main(["train", *given, f"output={root}/lora", "peft=expert_lora"]) == 0
    return root


@pytest.fixture
def vendor(monkeypatch):
    """lara's own policy made a host: the weights under another package's names."""
    exports = {"lerobot": "pi05", "openpi": "pi05", "groot": "gr00t_n1_6"}
    monkeypatch.setattr(Policy, "exports", exports, raising=False)
    written = lambda self: {f"model.{name}": tensor for name, tensor in self.state_dict().items()}  # noqa: E731
    monkeypatch.setattr(Policy, "vendor_state_dict", written, raising=False)


def observed(policy):
    card = policy.data
    images = {c: np.full((40, 40, 3), 90, np.uint8) for c in card.cameras}
    state = np.linspace(-1, 1, len(card.robot.observation.state)).astype(np.float32)
    return {"images": images, "state": state, "instruction": "reach red", "key": (0, 1, 2, 3)}


def test_the_native_folder_acts_bit_for_bit_as_the_run_and_under_the_same_names(runs, tmp_path):
    assert main(["export", "policy", f"checkpoint={runs}/plain", "to=native", f"output={tmp_path}/out"]) == 0
    trained, exported = load_policy(checkpoint=f"{runs}/plain"), load_policy(checkpoint=f"{tmp_path}/out")
    assert np.array_equal(trained.act(observed(trained)), exported.act(observed(exported)))
    own = load_policy_side(runs / "plain")[0].policy.state_dict()
    assert list(load_file(tmp_path / "out" / "model.safetensors")) == sorted(f"policy.{name}" for name in own)
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES | {"manifest.json"}
    assert exported.system.lam is None
    assert exported.system.coupling.parts() == {}


def test_adapters_are_merged_into_the_base_s_names_and_the_actions_stay(runs, tmp_path):
    export_policy(checkpoint=runs / "lora", to="native", output=tmp_path / "out")
    adapted, exported = load_policy(checkpoint=f"{runs}/lora"), load_policy(checkpoint=f"{tmp_path}/out")
    np.testing.assert_allclose(adapted.act(observed(adapted)), exported.act(observed(exported)), rtol=1e-4, atol=1e-5)
    plain = load_policy_side(runs / "plain")[0].policy.state_dict()
    assert set(load_file(tmp_path / "out" / "model.safetensors")) == {f"policy.{name}" for name in plain}
    merge(adapted.system.policy)
    assert np.array_equal(adapted.act(observed(adapted)), exported.act(observed(exported)))
    assert "Tuning" not in (tmp_path / "out" / "config.json").read_text()


@pytest.mark.parametrize("to", ["native", "lerobot", "groot"])
def test_no_byte_of_lam_or_projector_is_in_any_file(runs, tmp_path, vendor, to):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    export_policy(checkpoint=runs / "lora", to=to, output=tmp_path / "out", base=base)
    weights = read_checkpoint(runs / "lora").weights(ema=True)
    secret = {n: t for n, t in weights.items() if n.startswith(("lam.", "align.")) and t.numel() >= 8 and t.any()}
    assert len(secret) > 10
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        content = path.read_bytes()
        for name, tensor in secret.items():
            if len(set(tensor.flatten().tolist())) > 4:  # not a row of ones, which every layer norm has
                assert tensor.contiguous().numpy().tobytes() not in content, (path, name)
        assert not re.search(rb"\"lam\.|align\.projector|lora_A", content), path


def test_lerobot_s_files_hold_the_vendor_s_keys_and_our_normalisation(runs, tmp_path, vendor):
    out = export_policy(checkpoint=runs / "plain", to="lerobot", output=tmp_path / "out")
    system, saved = load_policy_side(runs / "plain")
    weights = load_file(out / "model.safetensors")
    assert {n.removeprefix("model.") for n in weights} == set(system.policy.state_dict())
    assert all(torch.equal(weights[f"model.{n}"], t) for n, t in system.policy.state_dict().items())
    card = Cards.from_dict(saved.card).only()
    config = json.loads((out / "config.json").read_text())
    assert config["type"] == "pi05"
    assert config["output_features"]["action"]["shape"] == [card.robot.action.dim]
    after = json.loads((out / "policy_postprocessor.json").read_text())["steps"][0]
    numbers = load_file(out / after["state_file"])
    low, high = numbers["action.min"].double().numpy(), numbers["action.max"].double().numpy()
    y = np.linspace(-1.3, 1.3, card.robot.action.dim)
    np.testing.assert_allclose((y + 1) / 2 * (high - low) + low, card.normalizer_of_actions().unnormalize(y), atol=1e-6)


@pytest.mark.lerobot
@pytest.mark.skipif(not VENDOR, reason="LARA_LEROBOT_PYTHON names no python with lerobot 0.4.4")
def test_lerobot_itself_reads_config_and_statistics_and_undoes_our_normalisation(runs, tmp_path, vendor):
    out = export_policy(checkpoint=runs / "plain", to="lerobot", output=tmp_path / "out")
    card = load_policy(checkpoint=f"{runs}/plain").data
    y = np.linspace(-1.3, 1.3, card.robot.action.dim).astype(np.float32)
    code = (
        "import sys, json, torch\n"
        "from lerobot.configs.policies import PreTrainedConfig\n"
        "from lerobot.policies.pi05.configuration_pi05 import PI05Config\n"
        "from lerobot.processor import PolicyProcessorPipeline\n"
        "from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action\n"
        "config = PreTrainedConfig.from_pretrained(sys.argv[1])\n"
        "pipe = PolicyProcessorPipeline.from_pretrained(sys.argv[1], config_filename='policy_postprocessor.json',\n"
        "    to_transition=policy_action_to_transition, to_output=transition_to_policy_action)\n"
        "out = pipe(torch.tensor([json.loads(sys.argv[2])]))\n"
        "print('@' + json.dumps([config.type, config.chunk_size, out[0].tolist()]))"
    )
    done = subprocess.run(
        [str(VENDOR), "-c", code, str(out), json.dumps(y.tolist())],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kind, chunk, actions = json.loads(done.stdout.split("@")[-1])
    assert (kind, chunk) == ("pi05", card.horizon)
    np.testing.assert_allclose(actions, card.normalizer_of_actions().unnormalize(y), atol=1e-5)


def test_openpi_gets_bare_keys_and_one_asset_and_only_normalisers_it_knows(runs, tmp_path, vendor):
    with pytest.raises(ConfigError, match="openpi normalises state and action alike"):
        export_policy(checkpoint=runs / "plain", to="openpi", output=tmp_path / "out")
    assert not list(tmp_path.iterdir())
    from lara.export.openpi import write_openpi

    card = load_policy(checkpoint=f"{runs}/plain").data
    from dataclasses import replace

    write_openpi(
        tmp_path,
        weights={"a": torch.ones(2)},
        card=replace(card, action_normalizer="quantile", state_normalizer="quantile"),
    )
    stats = json.loads((tmp_path / "assets" / card.embodiment / "norm_stats.json").read_text())["norm_stats"]
    assert {k: set(v) for k, v in stats.items()} == {k: {"mean", "std", "q01", "q99"} for k in ("state", "actions")}
    assert len(stats["actions"]["q01"]) == card.robot.action.dim


def test_groot_keeps_the_base_s_records_and_adds_this_robot(runs, tmp_path, vendor):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "Gr00tN1d6"}')
    (base / "statistics.json").write_text('{"gr1": {}}')
    with pytest.raises(ConfigError, match="give base="):
        export_policy(checkpoint=runs / "plain", to="groot", output=tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        export_policy(checkpoint=runs / "plain", to="groot", output=tmp_path / "out", base=tmp_path)
    out = export_policy(checkpoint=runs / "plain", to="groot", output=tmp_path / "out", base=base)
    assert (out / "config.json").read_bytes() == (base / "config.json").read_bytes()
    assert set(json.loads((out / "statistics.json").read_text())) == {"gr1", "dot"}


@pytest.mark.parametrize(
    ("change", "said"),
    [({"to": "onnx"}, "there is no format"), ({"to": "lerobot"}, "has no form in 'lerobot'")],
)
def test_what_cannot_be_exported_is_said_and_leaves_nothing(runs, tmp_path, change, said):
    with pytest.raises(ConfigError, match=said):
        export_policy(**{"checkpoint": runs / "plain", "output": tmp_path / "out", **change})
    assert not list(tmp_path.iterdir())


def test_an_output_that_exists_is_left_alone(runs, tmp_path):
    with pytest.raises(ConfigError, match="exists already"):
        export_policy(checkpoint=runs / "plain", to="native", output=tmp_path)


def test_every_flipped_byte_and_every_truncation_is_refused_by_name(runs, tmp_path):
    out = export_policy(checkpoint=runs / "plain", to="native", output=tmp_path / "out")
    rng = random.Random(0)
    tried = 0
    for path in sorted(out.iterdir()):
        whole = path.read_bytes()
        flips = (rng.randrange(len(whole)) for _ in range(17))
        bad = [whole[:k] + bytes([whole[k] ^ (1 << rng.randrange(8))]) + whole[k + 1 :] for k in flips]
        for content in [*bad, whole[:-2], whole[: len(whole) // 2], b"", whole + b"\0"]:
            path.write_bytes(content)
            with pytest.raises(CheckpointError) as refused:
                load_policy(checkpoint=str(out))
            # the manifest itself is named, or what it no longer fits
            assert path.name in str(refused.value) or path.name == "manifest.json"
            tried += 1
        path.write_bytes(whole)
    assert tried == 4 * 21
    load_policy(checkpoint=str(out))


def test_a_forged_manifest_does_not_make_other_weights_fit(runs, tmp_path):
    out = export_policy(checkpoint=runs / "plain", to="native", output=tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    config["system"]["policy"]["expert"]["blocks"] = 5
    (out / "config.json").write_text(json.dumps(config))
    (out / "manifest.json").unlink()
    write_manifest(out, "export")
    with pytest.raises(CheckpointError, match="does not fill what its config describes: 12 of 119"):
        load_policy(checkpoint=str(out))


def test_an_export_of_an_earlier_version_is_to_be_made_again(tmp_path):
    for name in ("policy.safetensors", "config.json", "data.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError, match="export the run again"):
        load_policy(checkpoint=str(tmp_path))


def test_an_export_has_one_set_of_weights_and_says_which(runs, tmp_path):
    average = export_policy(checkpoint=runs / "plain", to="native", output=tmp_path / "average")
    with pytest.raises(CheckpointError, match="holds the moving average alone"):
        load_policy(checkpoint=str(average), ema=False)
    last = export_policy(checkpoint=runs / "plain", to="native", output=tmp_path / "last", ema=False)
    weights = read_checkpoint(runs / "plain").weights(ema=False)
    written = read_saved(last).weights(ema=False)
    assert all(torch.equal(value, weights[name]) for name, value in written.items())
    assert read_saved(last).has_ema is False
    assert not all(torch.equal(value, written[name]) for name, value in read_saved(average).tensors().items())


def test_a_stage_starts_from_an_exported_policy_and_no_option_is_passed_over(runs, tmp_path):
    out = export_policy(checkpoint=runs / "plain", to="native", output=tmp_path / "out")
    system, _ = load_system(runs / "plain", ema=False)
    counts = load_parts(system, {"policy": out})
    assert set(counts) == {name for name in system.parts() if name.startswith("policy")}
    assert all(torch.equal(system.state_dict()[k], v) for k, v in read_saved(out).tensors().items())
    with pytest.raises(ConfigError, match="generates no latents"):
        load_policy(checkpoint=str(out), latents="freeze")


@pytest.mark.parametrize(
    "words", [["policy"], ["policy", "checkpoint=a", "to=native", "output=b", "sides=lam"], ["polcy"]]
)
def test_the_command_says_what_it_takes(words, capsys):
    assert main(["export", *words]) == 2
    assert re.search(r"lara export (lam\|)?policy", capsys.readouterr().err)


def test_serving_a_run_reads_no_pretrained_weights(runs, monkeypatch):
    """Everything is in the checkpoint, so whatever asks for pretrained weights is told that they are not wanted."""
    from lara.nn.weightless import weights_wanted

    asked = []
    first = Policy.__init__

    @functools.wraps(first)  # the builder reads the signature
    def noted(self, **settings):
        asked.append(weights_wanted())
        first(self, **settings)

    monkeypatch.setattr(Policy, "__init__", noted)
    load_system(runs / "plain")
    assert asked == [False]
    assert weights_wanted()
