"""The whole program at toy size, through the command line: collect, check, three stages, roll out, compare, resume."""

import json

import pytest
import torch

from lara.cli import main
from lara.errors import CheckpointError
from lara.serve.load import load_lam
from lara.serve.policy import load_policy
from lara.store.checkpoint import read_checkpoint

SMALL = [
    "image_size=32",
    "policy.expert.width=32",
    "policy.expert.blocks=4",
    "policy.backbone.width=32",
    "lam.encoder.width=32",
    "lam.former.width=32",
    "lam.decoder.width=32",
    "lam.decoder.layers=1",
    "stage.steps=4",
    "horizon=4",
    "runtime={batch_size: 8, log_every: 2, save_every: 2, validate_every: null, validation_limit: 1}",
    "data.embodiment=dot",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A dataset, and a function that runs one command on it and insists that it works."""
    root = tmp_path_factory.mktemp("world")
    assert (
        main(
            [
                "collect",
                "benchmark=toy",
                "tasks=[reach-red,reach-blue]",
                "episodes=3",
                f"output={root}/data",
                "processes=1",
            ]
        )
        == 0
    )

    def train(experiment, name, *more):
        cameras = ["data.cameras=[top]"] if experiment not in ("demo/lam", "demo/blind") else []
        lam = ["data.lam.cameras=[top]"] if experiment not in ("demo/dit_only", "demo/blind") else []
        given = [f"experiment={experiment}", f"data.root={root}/data", f"output={root}/{name}", *SMALL, *cameras, *lam]
        assert main(["train", *given, *more]) == 0
        return root / name

    return root, train


@pytest.fixture(scope="module")
def runs(world):
    _, train = world
    lam = train("demo/lam", "lam")
    return {
        "lam": lam,
        "dit_only": train("demo/dit_only", "dit_only"),
        "blind": train("demo/blind", "blind"),
        "lara": train("demo/lara", "lara", f"stage.load.lam={lam}"),
    }


def _metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_check_reads_the_dataset_as_training_would(world, capsys):
    root, _ = world
    assert (
        main(
            ["check", "experiment=demo/lara", f"data.root={root}/data", "data.cameras=[top]", "data.lam.cameras=[top]"]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "training samples of toy" in out
    assert "red" in out


def test_every_term_and_every_health_figure_is_logged(runs):
    last = _metrics(runs["lara"])[-1]
    for name in (
        *("loss", "action", "align", "lam.reconstruction", "lam.commitment", "validation/action", "validation/align"),
        *("lam.perplexity", "lam.dead_codes", "lam.psnr", "lam.psnr_copy"),
        *("align.cosine", "align.centred_cosine", "align.common_z", "align.rank_z", "align.retrieval"),
        *("grad_norm", "grad_norm/policy.expert", "grad_norm/lam.former", "grad_norm/align.projector"),
    ):
        assert name in last, name
    assert "lam.psnr" not in _metrics(runs["dit_only"])[-1]
    assert sorted(p.suffix for p in (runs["lara"] / "first_batch").iterdir()).count(".png") > 0


def test_joint_training_starts_from_the_stage_one_lam(world, runs):
    _, train = world
    start = train("demo/lara", "lara_start", f"stage.load.lam={runs['lam']}", "stage.steps=1", "optim.lr=1e-12")
    before, after = (load_lam(run, ema=False)[0] for run in (runs["lam"], start))
    torch.testing.assert_close(before.former.down[0].weight, after.former.down[0].weight)


def test_post_training_keeps_slot_and_statistics_of_a_known_robot_and_gives_a_new_one_its_own(world, runs):
    _, train = world
    base = read_checkpoint(runs["lara"])
    known = read_checkpoint(train("demo/posttrain", "post", f"init={runs['lara']}"))
    assert known.config["embodiments"] == {"dot": 0}
    assert known.card["embodiments"]["dot"]["statistics"] == base.card["embodiments"]["dot"]["statistics"]
    new = read_checkpoint(train("demo/posttrain", "post_new", f"init={runs['lara']}", "data.embodiment=other"))
    assert new.config["embodiments"] == {"dot": 0, "other": 1}
    assert new.card["embodiments"]["other"]["slot"] == 1


def test_a_policy_acts_through_the_client_and_pairs_with_another(world, runs, capsys):
    root, _ = world
    for name in ("lara", "dit_only", "blind"):
        given = [
            "benchmark=toy",
            "protocol=toy",
            "protocol.episodes=2",
            "protocol.max_steps=8",
            "processes=1",
            "videos=false",
        ]
        assert main(["eval", f"client.checkpoint={runs[name]}", f"output={root}/eval_{name}", *given]) == 0
        summary = json.loads((root / f"eval_{name}" / "summary.json").read_text())
        # the two tasks of the data, of the benchmark's three
        assert set(summary["tasks"]) == {"reach-red", "reach-blue"}
        assert (summary["episodes"], summary["errors"], summary["privileged"]) == (4, 0, False)
    capsys.readouterr()
    assert main(["compare", f"{root}/eval_lara", f"{root}/eval_dit_only"]) == 0
    assert "verdict" in capsys.readouterr().out


def test_acting_sees_what_training_saw(runs):
    """The same frame gives the policy the same tensors from a dataset and from a body."""
    from lara.launch import build_data

    policy = load_policy(checkpoint=str(runs["lara"]))
    saved = read_checkpoint(runs["lara"])
    data = build_data({**saved.config, "inherit": None})
    data.prepare()
    batch = data.batch(data.training_samples[:1])
    frame = data.source.frames(*_where(data, int(batch.index_B[0])))
    seen = policy.observe(
        {
            "images": {"top": frame[0]},
            "state": _raw_state(data, batch),
            "instruction": batch.observation.instruction[0],
            "key": (0,),
        }
    )
    assert torch.equal(seen.images_BVCHW, batch.observation.images_BVCHW)
    torch.testing.assert_close(seen.state_BS, batch.observation.state_BS)
    assert torch.equal(seen.action_dims_BA, batch.observation.action_dims_BA)
    assert torch.equal(seen.embodiment_B, batch.observation.embodiment_B)


def _where(data, index):
    numbers = data._numbers
    episode = max(k for k in range(len(data.source)) if numbers.begins[k] <= index)
    return episode, "top", [index - int(numbers.begins[episode])]


def _raw_state(data, batch):
    return data._numbers.states[int(batch.index_B[0])]


def test_a_lam_run_says_that_it_cannot_act(runs):
    with pytest.raises(CheckpointError, match="holds no policy"):
        load_policy(checkpoint=str(runs["lam"]))


@pytest.mark.parametrize("experiment", ["demo/lam", "demo/dit_only", "demo/blind", "demo/lara", "demo/posttrain"])
def test_two_steps_and_a_resume_to_four_equal_four_straight(world, runs, experiment):
    """For every stage. (The cosine knows the stage's length, so the length may only change under a constant rate.)"""
    root, train = world
    given = {"demo/lara": [f"stage.load.lam={runs['lam']}"], "demo/posttrain": [f"init={runs['lara']}"]}
    more = [*given.get(experiment, []), "optim.schedule=constant"]
    for steps in (2, 4):
        train(experiment, f"pieces_{experiment}", f"stage.steps={steps}", *more)
    whole = train(experiment, f"whole_{experiment}", *more)
    a, b = (read_checkpoint(run) for run in (root / f"pieces_{experiment}", whole))
    for ema in (False, True):
        left, right = a.weights(ema=ema), b.weights(ema=ema)
        assert set(left) == set(right)
        assert all(torch.equal(left[k], right[k]) for k in left)
    assert [m for m in _metrics(root / f"pieces_{experiment}") if m["step"] > 2] == [
        m for m in _metrics(whole) if m["step"] > 2
    ]
