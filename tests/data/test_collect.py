from __future__ import annotations

import json
import shutil
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from lara.data.collect import collect
from lara.data.frames.encode import ImageStorage
from lara.errors import ConfigError, DataError
from sim_eval.toy import ReachDemonstrator

TASKS = ["reach-red", "reach-blue"]
TOY = {"_target_": "sim_eval.toy.ReachDemonstrator"}


def gather(output, demonstrator=TOY, **more):
    settings = {"tasks": TASKS, "episodes": 4, "seed": 0, "fps": 10, "storage": ImageStorage(), "processes": 1}
    return collect(demonstrator=demonstrator, output=output, **{**settings, **more})


def contents(folder):
    """Every file of a dataset but the report, which holds times."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "collection.json"
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "data"
    return folder, gather(folder)


def first_successes(seed, task, n):
    """(attempts up to the n-th success, the successful ones), by asking the demonstrator itself."""
    demonstrator, kept, attempt = ReachDemonstrator(seed=seed), [], 0
    while len(kept) < n:
        if demonstrator.demonstrate(task, attempt, keep_failures=False)["success"]:
            kept.append(attempt)
        attempt += 1
    return attempt, kept


def test_the_first_successes_in_attempt_order_are_kept_and_tries_counted(plain):
    folder, report = plain
    assert json.loads((folder / "collection.json").read_text()) == report
    assert not folder.with_name("data.staging").exists()
    demonstrator, frames, failures = ReachDemonstrator(seed=0), 0, 0
    for task in TASKS:
        tries, kept = first_successes(0, task, 4)
        told = report["task_reports"][task]
        assert (told["tries"], told["failures"], told["episodes"]) == (tries, tries - 4, 4)
        length = sum(len(demonstrator.demonstrate(task, k, keep_failures=False)["actions"]) for k in kept)
        assert told["frames"] == length
        frames, failures = frames + length, failures + told["failures"]
    assert report["frames"] == frames
    assert failures > 0  # otherwise this file tests nothing about failures


def test_the_number_of_processes_changes_no_byte(plain, tmp_path):
    gather(tmp_path / "data", processes=3)
    assert contents(tmp_path / "data") == contents(plain[0])


@pytest.mark.parametrize("fault", ["raise", "exit"])
def test_a_broken_collection_names_the_place_and_goes_on_from_there(plain, tmp_path, fault):
    flag = tmp_path / "faulty"
    flag.touch()
    broken = {
        "_target_": "sim_eval.faults.FaultyDemonstrator",
        "task": "reach-blue",
        "attempt": 2,
        "fault": fault,
        "while_exists": str(flag),
    }
    with pytest.raises(DataError, match=r"'reach-blue', attempt \d+ failed") as caught:
        gather(tmp_path / "data", broken)
    if fault == "raise":
        assert "attempt 2 failed: ValueError: a fault made on purpose" in str(caught.value)
    else:
        assert isinstance(caught.value.__cause__, BrokenProcessPool)
    staging = tmp_path / "data.staging"
    staged = {p: p.stat().st_mtime_ns for p in staging.glob("*/attempt_*.json")}
    assert staged
    assert not (tmp_path / "data").exists()
    # What a kill in the middle of one attempt leaves: a staged folder without its mark.
    orphan = next(p for p in staged if p.with_suffix("").exists())
    orphan.unlink()
    del staged[orphan]
    flag.unlink()
    report = gather(tmp_path / "data", broken)
    assert report["made_now"]["attempts"] < sum(r["tries"] for r in report["task_reports"].values())
    assert contents(tmp_path / "data") == contents(plain[0])


def test_another_configuration_is_refused_and_the_same_one_is_not_repeated(plain, tmp_path):
    assert gather(plain[0]) == plain[1]
    with pytest.raises(DataError, match="exists and is not the finished result"):
        gather(plain[0], seed=4)
    with pytest.raises(DataError, match="exists and is not the finished result"):
        gather(plain[0], episodes=5)
    staging = tmp_path / "data.staging"
    with pytest.raises(ConfigError, match="Did you mean 'reach-red'"):
        gather(tmp_path / "data", tasks=["reach-read"])
    assert staging.exists()
    with pytest.raises(ConfigError, match=r"seed: staged 0, now 4"):
        gather(tmp_path / "data", seed=4)
    shutil.rmtree(staging)
    with pytest.raises(ConfigError, match="fps=10"):
        gather(tmp_path / "data", fps=80)


def test_failures_are_kept_on_request(tmp_path):
    report = gather(tmp_path / "data", keep_failures=True)
    for task in TASKS:
        tries, _ = first_successes(0, task, 4)
        told = report["task_reports"][task]
        assert (told["tries"], told["episodes"], told["failures"]) == (tries, tries, tries - 4)


def test_a_task_that_never_succeeds_ends_with_a_message(tmp_path):
    with pytest.raises(DataError, match=r"reach-red: only 0 of 3 succeeded in 32 attempts"):
        gather(tmp_path / "data", {**TOY, "gives_up": 1.0}, tasks=["reach-red"], episodes=3, seed=1)


def test_only_this_projects_classes_may_be_named(tmp_path):
    for target in ("os.system", "lara.data.collect.shutil.rmtree"):
        with pytest.raises(ConfigError, match="may be named"):
            gather(tmp_path / target, {"_target_": target})


def test_labels_are_clean_and_states_those_that_were_visited():
    made = ReachDemonstrator(seed=0).demonstrate("reach-red", 0, keep_failures=True)
    assert np.abs(made["actions"]).max() <= 1
    assert len(made["images"]["top"]) == len(made["state"]) == len(made["actions"])
