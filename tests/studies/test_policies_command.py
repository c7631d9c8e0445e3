"""`lara policies` from a dataset to its three files on the toy benchmark; a second call repeats nothing."""

import json

import pytest

from lara.cli import main
from lara.evaluation.compare import compare
from lara.studies.policies_page import markdown
from tests.studies.doubles import InThisProcess, Never

SMALL = [
    *("image_size=32", "horizon=4", "stage.steps=2", "data.cameras=[top]", "data.lam.cameras=[top]"),
    *("policy.expert.width=32", "policy.expert.blocks=4", "policy.backbone.width=32", "lam.encoder.width=32"),
    *("lam.former.width=32", "lam.decoder.width=32", "lam.decoder.layers=1"),
    "runtime={batch_size: 4, log_every: 2, save_every: 2, validate_every: null, validation_limit: 0}",
]
# the last with an override of its own, to see what it is called
POLICIES = ["demo/dit_only", "lara/tiny", "alam/tiny stages.lam.runtime.log_every=1"]


def test_from_a_dataset_to_three_files_and_nothing_twice(tmp_path, monkeypatch, capsys):
    data = ["collect", "benchmark=toy", "tasks=[reach-red]", "episodes=3", f"output={tmp_path}/data", "processes=1"]
    assert main(data) == 0
    monkeypatch.setattr("lara.runs.run.Processes", InThisProcess)
    given = [
        *("policies", f"root={tmp_path}/data", f"output={tmp_path}/out"),
        "policies=[" + ",".join(f"'{p}'" for p in POLICIES) + "]",
        "overrides=[" + ",".join(f"'{o}'" for o in SMALL) + "]",
        "interventions={alam/tiny: [freeze]}",
        "evaluation=['benchmark=toy','protocol=toy','protocol.max_steps=6']",
        *("tasks=[reach-red]", "episodes=2", "processes=1", "chunks=3"),
    ]
    assert main(given) == 0
    assert "policies.html" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "policies.json").read_text())
    folders = ["demo_dit_only", "lara_tiny", "alam_tiny_stages_lam_runtime_log_every_1"]
    labels = ["DiT-only", "LARA", "ALAM, log every 1"]
    assert [p["policy"] for p in record["policies"]] == folders
    assert [p["label"] for p in record["policies"]] == labels
    evals = [tmp_path / "out" / f"eval_{name}_seed0" for name in folders]
    for row, folder in zip(record["policies"], evals, strict=True):
        episodes = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
        assert row["success"]["successes"] == sum(e["success"] for e in episodes)
        assert row["success"]["n"] == len(episodes) == 2
        assert row["training"]["flops"] > 0 < row["training"]["seconds"]
        assert 0 < row["acting"]["low"] <= row["acting"]["median"] <= row["acting"]["high"]
    alone, joint, latents = record["policies"]
    assert alone["against"] is None
    assert joint["against"]["difference"] == compare(evals[1], evals[0])["difference"]
    assert alone["training"]["stages"] == {"demo/dit_only": 2}
    assert latents["training"]["stages"] == {"lam": 2, "transfer": 2}
    assert latents["training"]["samples"] == 2 * alone["training"]["samples"] == 16
    # the LAM's own stage comes before, and the LAM is not there when the policy acts
    assert joint["training"]["flops"] > alone["training"]["flops"]
    assert joint["acting"]["parameters"] == alone["acting"]["parameters"] < latents["acting"]["parameters"]
    (spoiled,) = record["interventions"]
    assert spoiled["latents"] == "freeze"
    assert spoiled["against"]["pairs"] == 2
    text = (tmp_path / "out" / "policies.md").read_text()
    assert [text.count(f"| {label} |") for label in labels] == [2, 2, 3]
    page = (tmp_path / "out" / "policies.html").read_text()
    assert page.count("<section>") == 5
    assert page.count("<video") >= 3
    assert "<script" not in page

    assert "| ≥ " not in text
    record["policies"][1]["training"]["whole"] = False
    assert "| LARA | ≥ " in markdown(record)

    monkeypatch.setattr("lara.runs.run.Processes", Never)
    monkeypatch.setattr("lara.inspect.latency.measure_latency", lambda *_, **__: pytest.fail("timed again"))
    assert main(given) == 0
    assert (tmp_path / "out" / "policies.md").read_text() == text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["policies=[demo_dit_onli]"], "'demo/dit_only'"),
        (["policies=[demo/dit_only,demo/lam]", "interventions=null"], "without a policy"),
        (["policies=[demo/dit_only,demo/dit_only]", "interventions=null"], "different experiments"),
        (["policies=[lara/tiny]"], "'demo/dit_only' is not among"),
        (["policies=[demo/dit_only]"], "interventions of 'alam/tiny'"),
        (["seeds=[]"], "seeds"),
        (["chunks=0"], "chunks is at least 1"),
        (["overrides=['stage.stepz=1']"], r"stage\.steps"),
        (["evaluation=['protocol.executes=1']"], r"protocol\.execute"),
    ],
)
def test_mistakes_are_said_before_anything_trains(tmp_path, monkeypatch, capsys, given, said):
    monkeypatch.setattr("lara.runs.run.Processes", Never)
    assert main(["policies", "root=x", f"output={tmp_path}/out", *given]) == 2
    assert said.replace("\\", "") in capsys.readouterr().err
