"""From plain video to a robot's policy by the command line: LAM, stage II and labels on mp4s, stage III on a robot."""

import json
import re

import pytest
import torch

from lara.cli import main
from lara.data.actions.normalize import Statistics
from lara.data.frames.encode import VideoStorage, encode_video
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.videos import INSTRUCTIONS
from lara.errors import CheckpointError
from lara.launch import build_data
from lara.serve.load import load_lam, load_system
from lara.serve.policy import load_policy
from lara.store.checkpoint import read_checkpoint

SMALL = [
    "image_size=32",
    "stage.steps=2",
    "horizon=4",
    "slots=2",
    "optim.schedule=constant",
    "runtime={batch_size: 4, log_every: 1, save_every: 1, validate_every: null, validation_limit: 1}",
]
ROBOT = ["data.split.validation_fraction=0.4", "data.embodiment=dot", "data.cameras=[top]", "data.lam.cameras=[top]"]
# one per stage of `rotvla/tiny`: the first two see video alone
VIDEO = ["stages.lam.data=videos", "stages.pretrain.data=videos"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A robot's dataset, and its episodes' frames as mp4s without anything else."""
    root = tmp_path_factory.mktemp("from_videos")
    collect = ["collect", "benchmark=toy", "tasks=[reach-red,reach-blue]", "episodes=3", f"output={root}/robot"]
    assert main([*collect, "processes=1"]) == 0
    source = open_dataset(root / "robot")
    (root / "videos").mkdir()
    texts = {}
    for row in source.episodes:
        images = source.frames(row.index, "top", range(row.length))
        name = f"{row.index}.mp4"
        encode_video(root / "videos" / name, images, fps=source.fps, storage=VideoStorage(codec="h264"))
        texts[name] = row.tasks[0]
    (root / "videos" / INSTRUCTIONS).write_text(json.dumps(texts))
    return root


@pytest.fixture(scope="module")
def runs(world):
    """All three stages by one command."""
    roots = [f"stages.{stage}.data.root={world}/videos" for stage in ("lam", "pretrain")]
    robot = [f"stages.finetune.{o}" for o in (f"data.root={world}/robot", *ROBOT)]
    given = ["experiment=rotvla/tiny", f"output={world}/run", *SMALL, *VIDEO, *roots, *robot]
    assert main(["train", *given]) == 0
    return world / "run"


def _card(saved):
    (card,) = saved.card["embodiments"].values()
    return card


def _train(world, experiment, name, *more):
    given = [f"experiment={experiment}", f"output={world}/{name}", "data=videos", f"data.root={world}/videos", *SMALL]
    return main(["train", *given, *more])


def test_check_says_that_there_are_no_actions(world, capsys):
    assert main(["check", "experiment=rotvla/tiny_lam", "data=videos", f"data.root={world}/videos", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "training frames, 2 instructions" in out
    assert re.search(r"^actions: none", out, re.M)
    assert re.search(r"^state: none", out, re.M)
    assert main(["check", "experiment=demo/lara", f"data.root={world}/robot", *ROBOT]) == 0
    assert re.search(r"^actions: 2 \(\w+, \w+\)$", capsys.readouterr().out, re.M)


@pytest.mark.parametrize(("experiment", "terms"), [("demo/dit_only", "action"), ("demo/lara", "action, align")])
def test_stages_that_weigh_actions_are_refused_before_the_first_step(world, capsys, experiment, terms):
    assert _train(world, experiment, f"refused_{experiment}") == 2
    assert f"weighs {terms}: expected data with robot actions" in capsys.readouterr().err
    assert not (world / f"refused_{experiment}").exists()


def test_the_robot_s_stage_has_the_robot_s_slot_statistics_and_units(world, runs):
    video, robot = read_checkpoint(runs / "pretrain"), read_checkpoint(runs / "finetune")
    assert _card(video)["robot"]["action"]["names"] == []
    assert video.config["embodiments"] == {"video": 0}
    assert robot.config["embodiments"] == {"dot": 0}
    data = build_data(robot.config)
    data.prepare()
    seen = data._numbers.actions[data.training_samples]
    assert Statistics.from_dict(_card(robot)["statistics"]["action"]) == Statistics.of(seen)
    assert load_policy(checkpoint=str(runs / "finetune")).card().action == data.source.robot.action


def test_stage_three_starts_from_what_video_taught_and_an_heir_gets_a_slot_and_statistics_of_its_own(world, runs):
    """After a step at almost no rate, the parts that stage III loads are those that stage II saved."""
    given = ["experiment=rotvla/tiny_finetune", f"data.root={world}/robot", f"lam_run={runs}/lam", *SMALL, *ROBOT]
    given += [f"init={runs}/pretrain", f"inherit={runs}/pretrain", "stage.steps=1", "optim.lr=1e-12"]
    assert main(["train", *given, f"output={world}/heir"]) == 0
    old, new = (load_system(run, ema=False)[0].state_dict() for run in (runs / "pretrain", world / "heir"))
    shared = [k for k in old if k.startswith(("policy.backbone.", "lam.")) and old[k].is_floating_point()]
    assert any(k.startswith("lam.former") for k in shared)
    for key in shared:
        torch.testing.assert_close(new[key], old[key], rtol=0, atol=1e-9)
    heir = read_checkpoint(world / "heir")
    assert heir.config["embodiments"] == {"video": 0, "dot": 1}
    assert _card(heir)["statistics"] == _card(read_checkpoint(runs / "finetune"))["statistics"]


def test_a_run_on_videos_that_is_interrupted_goes_on_bit_for_bit(world, runs):
    assert _train(world, "rotvla/tiny_lam", "pieces", "stage.steps=1") == 0
    assert _train(world, "rotvla/tiny_lam", "pieces") == 0
    a, b = (read_checkpoint(run).weights(ema=False) for run in (world / "pieces", runs / "lam"))
    assert set(a) == set(b)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_what_video_taught_cannot_act_and_says_so(runs):
    with pytest.raises(CheckpointError, match="without actions"):
        load_policy(checkpoint=str(runs / "pretrain"))


def test_the_lam_is_probed_on_its_videos_and_on_a_robot_s_data(world, runs):
    given = ["probe", f"checkpoint={runs}/lam", "probe=[linear,transfer]", "clips=8", "fit_clips=8"]
    for name, more in (("videos", []), ("robot", [f"data_of={runs}/finetune"])):
        assert main([*given, f"output={world}/probe_{name}", *more]) == 0
        record = json.loads((world / f"probe_{name}" / "probes.json").read_text())
        assert "transfer" in record["probes"]
        assert ("linear" in record["probes"]) == (name == "robot")
        assert name == "robot" or "has no actions" in record["not_applicable"]["linear"]
    assert _card(load_lam(runs / "lam")[1])["lam_cameras"] == ["video"]


def test_its_labels_are_actions_to_learn_from_on_the_same_videos(world, runs):
    """LAPA's stage A, where there is nothing but video."""
    labels = [f"checkpoint={runs}/lam", f"dataset={world}/videos", f"output={world}/labels", "label.workers=0"]
    assert main(["label", *labels]) == 0
    assert _train(world, "lapa/tiny_latent", "lapa", f"labels={world}/labels") == 0
    card = _card(read_checkpoint(world / "lapa"))
    assert (card["robot"]["name"], len(card["robot"]["action"]["names"])) == ("latent", 64)
