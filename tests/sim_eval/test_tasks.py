"""Which tasks are judged: those that the policy was trained on, or those that are named, with strangers marked."""

import json
from dataclasses import replace

import pytest

from lara.errors import ConfigError
from lara.evaluation.protocol import protocol_from_dict
from lara.evaluation.tables import UNTRAINED
from sim_eval.run import evaluate
from sim_eval.tasks import decide_tasks, trained_tasks
from sim_eval.toy import TASKS, ReachPolicy
from tests.sim_eval.test_run import PROTOCOL, TOY

FACTS = {"name": "toy", "tasks": TASKS, "instructions": {task: f"go to the {task[6:]} disk" for task in TASKS}}
OPEN = replace(PROTOCOL, tasks=None, episodes=1)
SCRIPTED = ReachPolicy().card()
TRAINED = replace(SCRIPTED, privileged=False, instructions=("go to the blue disk", "open the drawer"))


def test_a_null_in_the_protocol_is_the_tasks_of_the_training_data(capsys):
    decided = decide_tasks(OPEN, FACTS, TRAINED)
    assert decided.tasks == ("reach-blue",)
    assert "reach-blue" in capsys.readouterr().out
    assert decided.hash == replace(OPEN, tasks=("reach-blue",)).hash != replace(OPEN, tasks=tuple(TASKS)).hash


def test_a_policy_without_data_is_judged_on_all_and_none_of_them_is_called_untrained():
    assert decide_tasks(OPEN, FACTS, SCRIPTED).tasks == tuple(TASKS)
    assert trained_tasks(FACTS, SCRIPTED) is None


def test_named_tasks_stay_and_strangers_among_them_are_said(capsys):
    named = replace(OPEN, tasks=("reach-red", "reach-blue"))
    assert decide_tasks(named, FACTS, TRAINED) == named
    assert "not in the training data of toy-reach: reach-red" in capsys.readouterr().out


def test_a_policy_of_another_benchmark_is_told_to_name_tasks():
    with pytest.raises(ConfigError, match=r"'open the drawer'.*'protocol\.tasks=\[reach-red\]'"):
        decide_tasks(OPEN, FACTS, replace(TRAINED, instructions=("open the drawer",)))


def test_an_undecided_protocol_has_neither_hash_nor_work():
    for ask in (lambda p: p.hash, lambda p: p.work()):
        with pytest.raises(ConfigError, match=r"protocol\.tasks is null"):
            ask(OPEN)
    assert protocol_from_dict(json.loads(json.dumps(OPEN.to_dict()))) == OPEN


def test_strangers_are_marked_in_table_and_summary(tmp_path):
    evaluate(
        benchmark=TOY,
        policy={"_target_": "sim_eval.toy.ReachPolicy", "instructions": ["go to the red disk"]},
        protocol=replace(OPEN, tasks=("reach-red", "reach-green")),
        output=tmp_path / "run",
        videos=False,
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["untrained_tasks"] == ["reach-green"]
    assert [row["trained"] for row in summary["tasks"].values()] == [True, False]
    table = (tmp_path / "run" / "table.md").read_text()
    assert f"| reach-green{UNTRAINED} |" in table
    assert "| reach-red |" in table
    assert "NOT TRAINED: the policy's training data holds no reach-green." in table
