"""`lara lams`: which models, in which order, what is not repeated, and which numbers may stand side by side."""

import copy
import functools
import json

import pytest

from lara.config.compose import choices, compose, resolved
from lara.errors import ConfigError, DataError
from lara.pages.render import render
from lara.runs.plan import Phase, Plan
from lara.runs.run import run
from lara.studies.lams import expand, plan
from lara.studies.lams_page import markdown, page, shown
from lara.studies.lams_tables import gather
from tests.studies.doubles import Recorded

TWO = ["demo/lam", "alam/tiny_lam"]


@functools.cache
def _default():
    return resolved(compose("lams", ["root=x", "output=x"]))


def _config(tmp_path, **changes):
    return {**_default(), "output": str(tmp_path), "lams": TWO, "horizons": 2, **changes}


def record(checkpoint, offset=0.0):
    """What `lara probe` writes, for k = 8 and two horizons."""
    pair = {"psnr": [20.0, 18.0], "ssim": [0.9, 0.8], "lpips": []}
    law = {"additivity_relative": [0.0, 0.5], "reversal_relative": [0.4, 0.6]}
    far = dict.fromkeys(("recon_target", "imagined_recon", "imagined_target", "imagined_second"), 0.004)
    return {
        "checkpoint": checkpoint,
        "step": 600,
        "parameters": 1234567,
        "data": "x",
        "camera": "corner2",
        "held_out_episodes": 3,
        "clips_of": {"episodes": [1, 2, 3], "stride": 8, "image_size": 64},
        "not_applicable": {"codebook": "no codes"} if "alam" in checkpoint else {},
        "probes": {
            "horizons": {
                "rows": {
                    "direct": {**pair, "psnr": [24.5 + offset, None]},
                    **dict.fromkeys(("cumulative", "other_latent", "copy_frame", "pixel_difference"), pair),
                }
            },
            "algebra": {
                "rows": dict.fromkeys(
                    ("model", "other_latent", "pixel_difference", "future_frame", "current_frame"),
                    law,
                )
            },
            "degeneration": {
                "rows": dict.fromkeys(("model", "other_latent", "copy_frame", "copy_target", "pixel_difference"), far)
            },
            "linear": {"rows": {"model": {"r2": 0.41 + offset}, "nothing": {"r2": 0.0}}},
        },
    }


def _study(tmp_path, config, executor=None):
    models = plan(config)
    study = Plan(title="lams", phases=(Phase(arms=tuple(m.arm for m in models), workers=config["workers"]),))
    executor = executor or Recorded(record)
    return models, study, run(study, tmp_path, executor=executor).book, executor


def _cells(table, model, row):
    (line,) = [line for line in table.lines if (line.model, line.row) == (model, row)]
    return line.cells


def test_the_default_names_existing_experiments_and_composes():
    found = expand(_default()["lams"])
    named = {entry.split()[0] for entry in found}
    assert {"demo/lam", "rotvla/tiny_so3", "alam/tiny_lam"} <= named <= set(choices("experiment"))
    assert len(plan(_default())) == len(found)


def test_entries_are_names_patterns_and_names_with_overrides():
    assert expand(["rotvla/tiny_lam_* stage.steps=7"]) == [
        "rotvla/tiny_lam_continuous stage.steps=7",
        "rotvla/tiny_lam_discrete stage.steps=7",
    ]
    assert expand(["demo/lam latent=fsq a=b", *TWO]) == ["demo/lam latent=fsq a=b", *TWO]
    with pytest.raises(ConfigError, match="'alam/tiny_lam'"):
        expand(["alam/tinny_lam"])
    with pytest.raises(ConfigError, match="experiment=lam_alam_tiny is now experiment=alam/tiny_lam"):
        expand(["lam_alam_tiny"])


def test_every_model_gets_its_own_folders_and_the_same_probe(tmp_path):
    config = _config(tmp_path, seeds=[0, 1], lams=["demo/lam", "demo/lam lam.queries=4"])
    models = plan({**config, "overrides": ["stage.steps=7"]})
    assert [(m.entry.label, m.seed, m.steps) for m in models] == [
        (label, seed, 7) for label in ("LARA", "LARA, queries 4") for seed in (0, 1)
    ]
    assert len({m.run for m in models}) == len({m.probes for m in models}) == 4
    asked = [[a for a in m.arm.steps[1].arguments if not a.startswith(("checkpoint=", "output="))] for m in models]
    assert all(a == asked[0] for a in asked)
    for m in models:
        resolved(compose("probe", m.arm.steps[1].arguments[1:]))
        assert resolved(compose("train", m.training.arguments[1:]))["seed"] == m.seed


def test_mistakes_are_said_before_anything_trains(tmp_path):
    with pytest.raises(ConfigError, match="no latent action model"):
        plan(_config(tmp_path, lams=["demo/dit_only"]))
    with pytest.raises(ConfigError, match="quieries"):
        plan(_config(tmp_path, lams=["demo/lam", "alam/tiny_lam lam.quieries=4"]))
    with pytest.raises(ConfigError, match="seeds"):
        plan(_config(tmp_path, seeds=[0, 0]))


def test_a_new_training_is_probed_anew_and_a_new_question_trains_nothing(tmp_path):
    models, _, _, first = _study(tmp_path, _config(tmp_path))
    assert sorted(first.ran) == sorted(s.name for m in models for s in m.arm.steps)
    assert _study(tmp_path, _config(tmp_path))[3].ran == []
    changed = _config(tmp_path, overrides=["stage.steps=9"])
    assert sorted(_study(tmp_path, changed)[3].ran) == sorted(first.ran)
    asked = _study(tmp_path, {**changed, "clips": 17})[3]
    assert sorted(asked.ran) == sorted(m.arm.steps[1].name for m in models)


def test_tables_hold_every_models_numbers_and_their_baselines(tmp_path):
    config = _config(tmp_path)
    models, study, book, _ = _study(tmp_path, config)
    family = gather(models, book, config, command="lara lams root=x")
    tables = {t.key: t for t in family.tables}
    assert set(tables) == {"psnr", "ssim", "additivity", "reversal", "degeneration", "actions", "codebook", "cost"} - {
        "codebook"
    }
    assert _cells(tables["psnr"], "demo_lam", "direct") == ((24.5,), (None,))
    assert _cells(tables["psnr"], None, "copy_frame") == ((20.0,), (18.0,))
    assert _cells(tables["psnr"], None, "pixel_difference") == ((20.0,), (18.0,))
    assert [line.label for line in tables["psnr"].lines][:3] == [
        "LARA: direct",
        "LARA: composed",
        "LARA: another clip's latent",
    ]
    for key in ("psnr", "ssim", "additivity", "reversal", "degeneration", "actions"):
        assert {"other_latent"} <= {line.row for line in tables[key].lines if line.model}, key
        baselines = {line.row for line in tables[key].lines if line.model is None}
        assert "pixel_difference" in baselines, key
        assert baselines & {"copy_frame", "current_frame"}, key
    assert family.reasons == {"alam_tiny_lam": {"codebook": "no codes"}}
    text = markdown(family)
    for said in (
        "k = 8 steps",
        "256 clips",
        "3 held-out",
        "seeds of training: 0",
        "lara lams root=x",
        "cores",
        "1,234,567",
    ):
        assert said in text, said
    rows = json.loads(json.dumps(family.json(), allow_nan=False))["tables"]["psnr"]["rows"]
    (copying,) = [row for row in rows if row["row"] == "copy_frame"]
    assert copying["model"] is None
    assert copying["cells"] == [[20.0], [18.0]]
    html = render(page(family, study.steps, book))
    assert html.count("<section>") == len(tables) + 2
    assert "ALAM" in html


def test_seeds_are_cells_with_a_spread(tmp_path):
    config = _config(tmp_path, seeds=[0, 1], lams=["demo/lam"])
    models, _, book, _ = _study(tmp_path, config)
    (models[1].probes / "probes.json").write_text(json.dumps(record("other", offset=2.0)))
    family = gather(models, book, config, command="")
    cells = _cells(next(t for t in family.tables if t.key == "psnr"), "demo_lam", "direct")
    assert cells[0] == (24.5, 26.5)
    assert shown(cells[0], 2) == "25.50 ± 1.41"
    assert shown((1.0, None), 2) == "–"
    assert shown((1234.5,), 0) in ("1,234", "1,235")


@pytest.mark.parametrize("what", ["episodes", "baseline"])
def test_models_that_saw_other_clips_are_not_put_side_by_side(tmp_path, what):
    config = _config(tmp_path)
    models, _, book, _ = _study(tmp_path, config)
    other = copy.deepcopy(record("y"))
    if what == "episodes":
        other["clips_of"]["episodes"] = [1, 2, 4]
    else:
        other["probes"]["horizons"]["rows"]["copy_frame"] = {"psnr": [21.0, 18.0]}
    (models[1].probes / "probes.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="same clips"):
        gather(models, book, config, command="")
