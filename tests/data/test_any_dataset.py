"""Any LeRobot dataset in one line, as a stranger meets it: checked, trained on, acted from; every wrong turn answered.

The datasets are those that others wrote (fixtures), and one of ours without the card that our writer adds.
"""

from __future__ import annotations

import json
import re
import shutil
from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest

from lara.cli import main
from lara.errors import SpecError
from lara.launch import build_data
from lara.serve.client import check_actions
from lara.serve.policy import load_policy
from lara.specs import require_compatible
from lara.store.checkpoint import read_checkpoint
from sim_eval.toy import ACTION
from tests.data import worlds
from tests.data.sources.lerobot.test_fixtures import FIXTURES, KEPT
from tests.test_whole_program import SMALL as EVERYWHERE

SMALL = [one for one in EVERYWHERE if not one.startswith("data.")]
HORIZON = 4
FIRST = {
    "v20": "cam.front",
    "v21": "front",
    "v30_lerobot044": "cam.front",
    "v30_lerobot061": "cam.front",
    "ours": "top",
}


def test_every_kept_dataset_is_among_them():
    assert set(FIRST) == {*KEPT, "ours"}


def _kept(name, folder, **sizes):
    """A copy, because caches are written beside a dataset. sizes: of ours."""
    if name == "ours":
        worlds.write(folder / name, (6, 9, 7), **sizes)
        (folder / name / "meta" / "lara.json").unlink()
        return folder / name
    return shutil.copytree(FIXTURES / name, folder / name)


def _train(root, output, *more):
    given = ["experiment=demo/lara", "data=lerobot", f"data.root={root}", f"output={output}", *SMALL]
    return main(["train", *given, "stage.steps=2", "runtime.save_every=1000", *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Name -> a dataset, and a run that was trained on one of its cameras; each made once."""

    @cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        root = _kept(name, folder)
        assert main(["check", "data=lerobot", f"data.root={root}"]) == 0
        assert _train(root, folder / "run", f"data.cameras=[{FIRST[name]}]") == 0
        assert json.loads((folder / "run" / "result.json").read_text())["finished"]
        return root, folder / "run"

    return make


@pytest.fixture(params=FIRST)
def run(request, trained):
    return trained(request.param)


def _data(output):
    data = build_data({**read_checkpoint(output).config, "inherit": None})
    data.prepare()
    return data


def test_what_is_learned_decodes_to_what_was_recorded(run):
    """Through the checkpoint's card, which is what serving has."""
    _, output = run
    data, card = _data(output), load_policy(checkpoint=str(output)).data
    for episode in data.source.episodes:
        recorded = data.source.arrays(episode.index)
        batch = data.batch(np.arange(episode.start, episode.start + episode.length))
        decoded = card.robot_actions(batch.actions_BHA.numpy(), recorded.state)
        for t in range(episode.length):
            wanted = recorded.actions[t : t + HORIZON]
            assert batch.action_mask_BHA[t].any(-1).sum() == len(wanted)
            np.testing.assert_allclose(decoded[t, : len(wanted)], wanted, rtol=1e-4, atol=1e-5)


def test_a_policy_acts_within_the_recorded_limits_once_a_body_has_checked_it(run):
    """`act` says what the policy means; the body clips and counts, so that a policy that leaves its limits is seen."""
    _, output = run
    policy, source = load_policy(checkpoint=str(output)), _data(output).source
    camera, spec = policy.data.cameras[0], policy.card().action
    recorded = np.concatenate([source.arrays(one.index).actions for one in source.episodes])
    np.testing.assert_allclose(spec.low, recorded.min(0), rtol=1e-6)
    np.testing.assert_allclose(spec.high, recorded.max(0), rtol=1e-6)
    assert spec.rate_hz == source.fps
    arrays = source.arrays(0)
    for t in (0, 5):
        frame = source.frames(0, camera, [t])[0]
        seen = {"images": {camera: frame}, "state": arrays.state[t], "instruction": source.tasks[0], "key": (0, t)}
        chunk = policy.act(seen)
        assert chunk.shape == (HORIZON, len(spec.names))
        safe, clipped = check_actions(chunk, spec)
        assert (safe >= np.float32(spec.low)).all()
        assert (safe <= np.float32(spec.high)).all()
        assert clipped == (safe != chunk).sum()
        # a policy of two steps is near nothing that was recorded, but in its units
        assert np.abs(chunk).max() < 20 * np.abs(recorded).max()


@pytest.mark.long
@pytest.mark.parametrize("name", FIRST)
def test_the_joint_stage_overfits_two_episodes_to_a_tenth_of_the_constant_predictors_error(tmp_path, name):
    root, output, camera = _kept(name, tmp_path), tmp_path / "run", FIRST[name]
    more = [f"data.cameras=[{camera}]", "data.split.validation_fraction=0", "stage.steps=1200", "optim.lr=3e-3"]
    more += ["optim.ema_decay=0.97", "runtime.batch_size=16"]
    assert _train(root, output, *more) == 0
    policy, source = load_policy(checkpoint=str(output)), _data(output).source
    wanted, got = [], []
    for episode in (0, 2):  # the one between is a single frame
        arrays = source.arrays(episode)
        frames = source.frames(episode, camera, np.arange(len(arrays.actions)))
        for t in range(len(frames)):
            task = source.tasks[arrays.task_index[t]]
            seen = {"images": {camera: frames[t]}, "state": arrays.state[t], "instruction": task, "key": (0, t)}
            wanted.append(arrays.actions[t : t + HORIZON])
            got.append(policy.act(seen)[: len(wanted[-1])])
    mean = [np.mean([chunk[h] for chunk in wanted if len(chunk) > h], axis=0) for h in range(HORIZON)]

    def error(chunks):
        squares = [np.square(a - b) for a, b in zip(chunks, wanted, strict=True)]
        return np.concatenate(squares).mean()

    assert error(got) < 0.1 * error([np.stack(mean[: len(chunk)]) for chunk in wanted])


@pytest.fixture(scope="module")
def v21(tmp_path_factory):
    return _kept("v21", tmp_path_factory.mktemp("wrong"))


def _refused(capsys, root, output, *more):
    """The message of a training that may not begin; nothing of the run is left."""
    capsys.readouterr()
    assert _train(root, output, *more) == 2
    assert not (output / "checkpoints").exists()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["data.cameras=[frnt]"], r"no camera 'frnt'. Did you mean 'front'"),
        (["data.cameras=[front]", "action_dim=2"], r"set action_dim=3 or more"),
        (["data.cameras=[front]", "state_dim=1"], r"set state_dim=2 or more"),
        ([], r"shows the policy 2 cameras \(front, wrist\).*data.cameras=\[front\].*policy.backbone.views=2"),
        (["policy.backbone.views=2"], r"shows the LAM 2 cameras.*data.lam.cameras=\[front\].*align.views=2"),
        (["data.cameras=[front]", "policy.backbone.views=2"], r"1 camera \(front\).*policy.backbone.views=1"),
    ],
)
def test_what_does_not_fit_is_answered_with_the_override_to_type(v21, tmp_path, capsys, more, said):
    assert re.search(said, _refused(capsys, v21, tmp_path / "run", *more))


def test_two_cameras_train_as_the_messages_say(v21, tmp_path, capsys):
    assert main(["check", "experiment=demo/lara", "data=lerobot", f"data.root={v21}", *SMALL]) == 2
    both = re.findall(r"policy\.backbone\.views=2", capsys.readouterr().err)
    assert _train(v21, tmp_path / "run", *both, "align.views=2", "stage.steps=1") == 0
    assert load_policy(checkpoint=str(tmp_path / "run")).card().observation.cameras == ("front", "wrist")


def test_a_wrong_root_is_answered_with_what_was_expected(tmp_path, capsys):
    said = _refused(capsys, tmp_path / "nowhere", tmp_path / "run")
    assert "nowhere: expected a LeRobotDataset or a folder of videos" in said
    assert "no such folder" in said


def test_poses_ask_for_what_no_file_says_and_are_learned_when_a_person_says_it(tmp_path, capsys):
    root = _kept("ours", tmp_path, action=7)
    poses = ["data=eef_pose", "data.actions.position=[a0,a1,a2]", "data.actions.rotation=[a3,a4,a5]"]
    poses += ["data.actions.gripper=a6", "data.cameras=[top]", "action_dim=16"]
    said = _refused(capsys, root, tmp_path / "run", *poses)
    wanted = re.findall(r"data\.robot\.(\w+)=\.\.\.", said)
    assert wanted == ["control", "rotation", "gripper"]
    answers = {"control": "absolute", "rotation": "axis_angle", "gripper": "close_positive"}
    person = "data.robot={" + ", ".join(f"{key}: {answers[key]}" for key in wanted) + "}"
    assert _train(root, tmp_path / "run", *poses, person, "stage.steps=1") == 0


def test_columns_of_other_names_are_asked_for_and_the_printed_overrides_work(tmp_path, capsys):
    root = _kept("ours", tmp_path)
    info = json.loads((root / "meta" / "info.json").read_text())
    names = {"action": "arm.target", "observation.state": "arm.qpos"}
    info["features"] = {names.get(key, key): value for key, value in info["features"].items()}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    for path in (root / "data").rglob("*.parquet"):
        table = pq.read_table(path)
        table = table.rename_columns([names.get(key, key) for key in table.column_names])
        pq.write_table(table.replace_schema_metadata(None), path)
    said = _refused(capsys, root, tmp_path / "run", "data.cameras=[top]")
    printed = re.findall(r"data\.format\.keys\.\w+=\[\S*\]", said)
    assert len(printed) == 2
    assert main(["check", "data=lerobot", f"data.root={root}", *printed]) == 0
    assert _train(root, tmp_path / "run", "data.cameras=[top]", *printed, "stage.steps=1") == 0
    assert _action(tmp_path / "run").names == ("a0", "a1", "a2")


def test_a_policy_whose_data_did_not_say_what_its_actions_mean_is_told_what_to_say(run):
    card = load_policy(checkpoint=str(run[1])).card()
    unknown = [key for key in ("control", "rotation", "gripper") if getattr(card.action, key) == "unknown"]
    assert unknown
    with pytest.raises(SpecError) as refused:
        require_compatible(
            policy_action=card.action,
            body_action=ACTION,
            policy_observation=card.observation,
            body_observation=card.observation,
        )
    for key, means in (("control", "delta"), ("rotation", "none"), ("gripper", "none")):
        assert (f"train with data.robot.{key}={means}" in str(refused.value)) == (key in unknown)


@pytest.mark.long
def test_lara_eval_says_so(trained, tmp_path, capsys):
    _, output = trained("ours")
    given = ["benchmark=toy", "protocol=toy", "protocol.tasks=[reach-red]", "processes=1", "videos=false"]
    capsys.readouterr()
    assert main(["eval", f"client.checkpoint={output}", f"output={tmp_path}/eval", *given]) == 2
    assert "train with data.robot.control=delta" in capsys.readouterr().err


def _action(output):
    return load_policy(checkpoint=str(output)).card().action
