from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lara.errors import ConfigError, DataError, LaraError
from lara.evaluation.compare import compare
from lara.evaluation.protocol import Protocol
from lara.evaluation.records import read_records
from sim_eval.run import evaluate

TOY = {"_target_": "sim_eval.toy.Reach"}
NOISY = {"_target_": "sim_eval.toy.ReachPolicy", "noise": 3.0}
PROTOCOL = Protocol(
    benchmark="toy",
    tasks=("reach-red", "reach-green", "reach-blue"),
    episodes=6,
    goal_seed=3,
    policy_seed=7,
    max_steps=20,
    settle_steps=1,
    success_mode="first",
    cameras=("top",),
    image_size=32,
    camera_positions={},
    render_profile="fast",
    execute=4,
    state=("x", "y"),
    instruction="own",
)


def outcomes(folder):
    return {r.key: replace(r, seconds=0.0) for r in read_records(folder / "episodes.jsonl")}


def run(output, policy=NOISY, protocol=PROTOCOL, **more):
    return evaluate(benchmark=TOY, policy=policy, protocol=protocol, output=output, **{"videos": False, **more})


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """One process, with videos."""
    folder = tmp_path_factory.mktemp("single") / "run"
    return folder, run(folder, videos=True)


def test_the_folder_tells_the_whole_story(single):
    folder, summary = single
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert json.loads((folder / "protocol.json").read_text())["versions"] == {"toy": "1"}
    assert (summary["episodes"], summary["errors"], summary["privileged"]) == (18, 0, True)
    assert 0 < summary["overall"]["successes"] < 18
    assert summary["clipped"] > 0
    table = (folder / "table.md").read_text()
    assert "PRIVILEGED" in table
    assert all(f"| {task} |" in table for task in PROTOCOL.tasks)
    assert set(summary["tiers"]) == {"primary", "secondary"}


def test_videos_show_the_first_success_and_failure_of_each_task(single):
    import av

    folder, summary = single
    assert summary["replay_mismatches"] == 0
    expected = {}
    for key, record in sorted(outcomes(folder).items()):
        expected.setdefault((key[0], record.success), record)
    names = {
        f"{task}_{'success' if success else 'failure'}_episode{r.episode}.mp4": r
        for (task, success), r in expected.items()
    }
    assert {p.name for p in (folder / "videos").iterdir()} == set(names)
    for name, record in names.items():
        with av.open(str(folder / "videos" / name)) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(frames) == record.steps + 1
        assert frames[0].shape == (32, 32, 3)
        assert frames[0].std() > 20


def test_the_number_of_processes_changes_nothing(single, tmp_path):
    run(tmp_path / "run", processes=2)
    assert outcomes(tmp_path / "run") == outcomes(single[0])


def test_an_interrupted_run_is_finished_and_equals_the_uninterrupted(single, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("protocol.json", "policy.json"):
        (folder / name).write_bytes((single[0] / name).read_bytes())
    log = (single[0] / "episodes.jsonl").read_bytes()
    kept = log[: log.index(b"\n", len(log) // 2) + 20]  # half of the episodes and a torn line
    (folder / "episodes.jsonl").write_bytes(kept)
    summary = run(folder)
    assert outcomes(folder) == outcomes(single[0])
    assert (folder / "episodes.jsonl").read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert summary["overall"] == single[1]["overall"]
    size = (folder / "episodes.jsonl").stat().st_size
    run(folder)
    assert (folder / "episodes.jsonl").stat().st_size == size


def test_faults_cost_their_episode_and_nothing_else(tmp_path):
    flag = tmp_path / "faulty"
    flag.touch()
    policy = {
        "_target_": "sim_eval.faults.FaultyPolicy",
        "faults": {0: "raise", 1: "exit", 2: "nan", 3: "hang"},
        "while_exists": str(flag),
    }
    protocol = replace(PROTOCOL, tasks=("reach-red",), max_steps=30)
    with pytest.raises(LaraError, match="4 of 6 episodes ended in an error"):
        run(tmp_path / "run", policy, protocol, processes=2, episode_timeout=4.0)
    records = outcomes(tmp_path / "run")
    said = [records["reach-red", i].error for i in range(4)]
    for text, words in zip(said, ("on purpose", "exit code 3", "non-finite", "watchdog"), strict=True):
        assert words in text
    assert all(records["reach-red", i].success for i in (4, 5))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["errors"], summary["overall"]["n"], summary["overall"]["rate"]) == (4, 2, 1.0)
    with pytest.raises(DataError, match="incomplete"):
        compare(tmp_path / "run", tmp_path / "run")
    flag.unlink()
    assert run(tmp_path / "run", policy, protocol)["overall"]["successes"] == 6


def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path):
    cases = [
        ({"protocol": replace(PROTOCOL, tasks=("reach-read",))}, "no tasks"),
        ({"protocol": replace(PROTOCOL, state=("x",))}, "protocol.state"),
        ({"protocol": replace(PROTOCOL, benchmark="metaworld")}, "'toy'"),
        ({"protocol": replace(PROTOCOL, versions={"toy": "9"})}, "protocol 9, installed 1"),
        ({"protocol": replace(PROTOCOL, render_profile="reference")}, "profile"),
        ({"policy": {"_target_": "os.system", "command": "false"}}, "foreign"),
        ({"policy": {"_target_": "sim_eval.faults.os.getpid"}}, "may be named"),
        ({"policy": {"_target_": "sim_eval.metaworld.expert.ExpertPolicy"}}, "do not speak the same units"),
    ]
    for changes, words in cases:
        with pytest.raises(LaraError, match=words):
            run(tmp_path / "run", **changes)
        assert not (tmp_path / "run").exists()


def test_a_folder_belongs_to_one_protocol_and_one_policy(single):
    with pytest.raises(ConfigError, match=r"max_steps: 20 \| 21"):
        run(single[0], protocol=replace(PROTOCOL, max_steps=21))
    with pytest.raises(ConfigError, match="another policy"):
        run(single[0], policy={**NOISY, "noise": 1.0})


def test_compare_pairs_episodes_and_refuses_other_protocols(single, tmp_path):
    run(tmp_path / "better", policy={"_target_": "sim_eval.toy.ReachPolicy"})
    result = compare(tmp_path / "better", single[0])
    ours, theirs = outcomes(tmp_path / "better"), outcomes(single[0])
    assert result["only_a"] == sum(bool(ours[k].success) and not theirs[k].success for k in ours)
    assert result["pairs"] == 18
    assert sum(result[k] for k in ("both", "only_a", "only_b", "neither")) == 18
    assert result["verdict"] == "A_BETTER"
    assert compare(single[0], tmp_path / "better")["verdict"] == "B_BETTER"
    same = compare(single[0], single[0])
    assert (same["verdict"], same["p_exact"], same["difference"]) == ("UNDECIDED", 1.0, 0.0)
    assert [row[0] for row in result["rows"]] == [*PROTOCOL.tasks, "all episodes"]
    run(tmp_path / "other", protocol=replace(PROTOCOL, execute=1))
    with pytest.raises(ConfigError, match=r"execute: 4 \| 1"):
        compare(single[0], tmp_path / "other")
