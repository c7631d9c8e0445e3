"""Several trainings by one command, end to end at toy size: order, folders, what is loaded, resuming, describing."""

import json

import pytest
import torch

from lara.cli import main
from lara.config.pipeline import stage_commands, stage_configs
from lara.errors import ConfigError
from lara.serve.policy import load_policy
from lara.store.checkpoint import read_checkpoint

SMALL = [
    "image_size=32",
    "stage.steps=2",
    "horizon=4",
    "runtime={batch_size: 4, log_every: 2, save_every: 2, validate_every: null, validation_limit: 0}",
    "data.embodiment=dot",
    "data.lam.cameras=[top]",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("stages")
    collect = ["collect", "benchmark=toy", "tasks=[reach-red]", "episodes=3", f"output={root}/data", "processes=1"]
    assert main(collect) == 0
    return root


def _train(root, experiment, *more):
    cameras = ["data.cameras=[top]"]
    arguments = [f"experiment={experiment}", f"data.root={root}/data", f"output={root}/{experiment}", *SMALL, *cameras]
    return main(["train", *arguments, *more])


def test_an_experiment_without_stages_has_none():
    assert stage_commands(["experiment=demo/lara", "data.root=x"]) == {}


def test_the_command_line_wins_in_every_stage_and_the_output_is_shared_out():
    given = stage_commands(["experiment=rotvla/tiny", "data.root=d", "output=o", "stage.steps=7"])
    assert list(given) == ["lam", "pretrain", "finetune"]
    assert given["finetune"].command == "train"
    assert given["finetune"].overrides == [
        *("experiment=rotvla/tiny_finetune", "lam_run=o/lam", "init=o/pretrain"),
        *("data.root=d", "stage.steps=7", "output=o/finetune"),
    ]
    configs = stage_configs(given)
    assert {c["stage"]["steps"] for c in configs.values()} == {7}


def test_an_override_of_one_stage_is_for_that_stage():
    given = stage_commands(["experiment=rotvla/tiny", "output=o", "stages.lam.stage.steps=7", "+stages.lam.data.x=1"])
    assert given["lam"].overrides == ["experiment=rotvla/tiny_lam", "stage.steps=7", "+data.x=1", "output=o/lam"]
    assert not any("steps" in o for o in given["pretrain"].overrides)
    with pytest.raises(ConfigError, match="no stage 'lamb'"):
        stage_commands(["experiment=rotvla/tiny", "stages.lamb.stage.steps=7"])
    with pytest.raises(ConfigError, match="has no stages"):
        stage_commands(["experiment=demo/lara", "stages.lam.stage.steps=7"])


def test_labelling_is_a_stage_that_hears_only_what_is_said_to_it():
    given = stage_commands(
        ["experiment=lapa/tiny", "data.root=d", "output=o", "stage.steps=7", "stages.labels.label.workers=2"]
    )
    assert list(given) == ["lam", "labels", "latent", "actions"]
    assert given["labels"].line == "lara label checkpoint=o/lam dataset=d label.workers=2 output=o/labels"
    assert "labels=o/labels" in given["latent"].overrides
    with pytest.raises(ConfigError, match=r"give data\.root"):
        stage_commands(["experiment=lapa/tiny"])
    with pytest.raises(ConfigError, match="begin with 'label'"):
        stage_commands(["experiment=lapa/tiny", "data.root=d", "stages.labels=[label, 'experiment=demo/lam']"])


def test_a_stage_that_cannot_be_composed_is_named_before_anything_runs():
    with pytest.raises(ConfigError, match=r"stage 'lam': .*no key 'stage\.stepz'"):
        stage_configs(stage_commands(["experiment=rotvla/tiny", "data.root=x", "stage.stepz=1"]))
    with pytest.raises(ConfigError, match="one experiment and no output"):
        stage_commands(["experiment=rotvla/tiny", "data.root=x", "stages.lam=['seed=1']"])


@pytest.mark.long
def test_rotvla_runs_all_its_stages_each_from_the_one_before(data, caplog):
    # a constant rate of nearly nothing: what a stage loaded is then what it still holds at its end
    assert _train(data, "rotvla/tiny", "optim.lr=1e-12", "optim.weight_decay=0", "optim.ema_decay=null") == 0
    runs = {name: read_checkpoint(data / "rotvla/tiny" / name) for name in ("lam", "pretrain", "finetune")}
    weights = {name: run.weights(False) for name, run in runs.items()}

    def same(part, one, other):
        mine, theirs = (runs[r].part_paths[part] for r in (one, other))
        pairs = [
            (value, weights[other][theirs + key.removeprefix(mine)])
            for key, value in weights[one].items()
            if key.startswith(mine + ".") and value.is_floating_point() and not key.endswith(("square", "batches"))
        ]
        return bool(pairs) and all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)

    assert same("lam.former", "pretrain", "lam")
    assert same("lam.encoder", "finetune", "lam")
    assert same("policy.expert", "finetune", "pretrain")
    assert same("policy.latent", "finetune", "pretrain")
    assert not any("decoder" in part for part in runs["finetune"].part_paths)
    assert "policy.action" in runs["finetune"].part_paths
    assert "policy.action" not in runs["pretrain"].part_paths

    # once more: nothing is trained again
    before = {name: (data / "rotvla/tiny" / name / "metrics.jsonl").read_text() for name in runs}
    caplog.set_level("INFO", "lara")
    caplog.clear()
    assert _train(data, "rotvla/tiny", "optim.lr=1e-12", "optim.weight_decay=0", "optim.ema_decay=null") == 0
    assert [record.getMessage()[:7] for record in caplog.records].count("[stage ") == 3
    assert before == {name: (data / "rotvla/tiny" / name / "metrics.jsonl").read_text() for name in runs}


def test_alam_runs_to_a_policy_that_acts_under_every_intervention(data):
    assert _train(data, "alam/tiny") == 0
    run = data / "alam/tiny" / "transfer"
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"latent_1", "action", "latent_1.size", "grad_norm/policy.latent"} <= set(last)
    policies = {use: load_policy(checkpoint=str(run), latents=use) for use in ("use", "freeze", "block", "shuffle")}
    assert len({p.identity for p in policies.values()}) == 4
    observation = {
        "images": {"top": torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()},
        "state": [0.0] * len(policies["use"].card().observation.state),
        "instruction": "reach red",
        "key": (0, 0, 0, 0),
    }
    assert all(p.act(observation).shape[0] == 4 for p in policies.values())


OF_A_DOT = [
    *("~data.actions.action.dz", "~data.actions.action.gripper"),
    *("~data.actions.state", "+data.actions.state={x: right_x, y: right_y}"),
]
OTHERS = {
    "lara/tiny": (["lam", "joint"], []),
    "latbot/tiny": (["lam", "distill", "finetune"], OF_A_DOT),
    "moto/tiny": (["lam", "labels", "tokens", "actions"], []),
    "lapa/tiny": (["lam", "labels", "latent", "actions"], ["stages.latent.data.embodiment=latent"]),
}


@pytest.mark.parametrize("experiment", OTHERS)
def test_every_other_paper_runs_to_a_policy_that_acts(data, experiment):
    stages, more = OTHERS[experiment]
    assert _train(data, experiment, *more) == 0
    assert sorted(p.name for p in (data / experiment).iterdir()) == sorted(stages)
    policy = load_policy(checkpoint=str(data / experiment / stages[-1]))
    observation = {
        "images": {"top": torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()},
        "state": [0.0] * len(policy.card().observation.state),
        "instruction": "reach red",
        "key": (0, 0, 0, 0),
    }
    assert policy.act(observation).shape == (4, len(policy.card().action.names))
    # once more: nothing is trained or labelled again
    before = {p: p.stat().st_mtime_ns for p in (data / experiment).rglob("*") if p.suffix in (".jsonl", ".parquet")}
    assert _train(data, experiment, *more) == 0
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_an_intervention_on_a_policy_without_latents_says_so(data):
    assert _train(data, "demo/dit_only", "data.lam.cameras=[]") == 0
    with pytest.raises(ConfigError, match="generates no latents to freeze"):
        load_policy(checkpoint=str(data / "demo/dit_only"), latents="freeze")


def test_show_describes_every_stage(capsys, monkeypatch):
    monkeypatch.setattr("lara.inspect.describe.describe", lambda config: " ".join(config["stage"]["weights"]))
    assert main(["show", "experiment=alam/tiny", "config=false"]) == 0
    out = capsys.readouterr().out
    assert out.count("=== stage ") == 3  # the labels in between, too
    assert "latent_1" in out
