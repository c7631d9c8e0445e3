"""`lara lams`: which models, in which order, what is not repeated, and which numbers may stand side by side."""

import copy
import functools
import json

import pytest

from lara.config import choices, compose, resolved
from lara.demo.chains import Progress, run_chains
from lara.demo.steps import Runner, Step
from lara.errors import ConfigError, DataError, LaraError
from lara.lams.gather import gather
from lara.lams.plan import expand, plan
from lara.lams.report import markdown, shown, write_report

TWO = ["lam_lara_tiny", "lam_alam_tiny"]


@functools.cache
def _default():
    return resolved(compose("lams", ["root=x", "output=x"]))


def _config(tmp_path, **changes):
    return {**_default(), "output": str(tmp_path), "lams": TWO, "horizons": 2, **changes}


class Recorded(Runner):
    """Writes what a training and a probe would, instead of running them."""

    def __init__(self, folder, fail=()):
        super().__init__(folder)
        self.ran, self.fail = [], fail

    def _execute(self, step, log, show):
        self.ran.append(step.name)
        log.write_text("the last words\n")
        if step.name in self.fail:
            return 1
        given = dict(a.split("=", 1) for a in step.arguments[1:])
        if step.arguments[0] == "probe":
            folder = self.folder / step.name
            folder.mkdir(exist_ok=True)
            (folder / "probes.json").write_text(json.dumps(record(given["checkpoint"])))
        return 0


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
                    **dict.fromkeys(("cumulative", "random z", "copy frame", "pixel difference"), pair),
                }
            },
            "algebra": {
                "rows": dict.fromkeys(
                    ("model", "random z", "pixel difference", "the future frame itself", "the current frame itself"),
                    law,
                )
            },
            "degeneration": {
                "rows": dict.fromkeys(("model", "random z", "copy frame", "copy target", "pixel difference"), far)
            },
            "linear": {"rows": {"model": {"r2": 0.41 + offset}, "nothing": {"r2": 0.0}}},
        },
    }


def _family(tmp_path, config, runner=None):
    models = plan(config)
    runner = runner or Recorded(tmp_path)
    run_chains([m.chain for m in models], runner, workers=config["workers"], title="lams")
    return gather(models, runner.done, config, command="lara lams root=x"), models, runner


def test_the_default_names_existing_experiments_and_composes():
    found = expand(_default()["lams"])
    assert {"lam_lara_tiny", "lam_rotvla_tiny", "lam_alam_tiny"} <= set(found) <= set(choices("experiment"))


def test_entries_are_names_patterns_and_names_with_overrides():
    assert expand(["lam_alam_tiny_without_*"]) == [
        "lam_alam_tiny_without_additivity",
        "lam_alam_tiny_without_laws",
        "lam_alam_tiny_without_reversal",
    ]
    assert expand(["lam_lara_tiny latent=fsq a=b", *TWO]) == ["lam_lara_tiny latent=fsq a=b", *TWO]
    with pytest.raises(ConfigError, match="'lam_alam_tiny'"):
        expand(["lam_alam_tinny"])
    with pytest.raises(ConfigError, match="twice"):
        expand([*TWO, "lam_lara_tiny"])
    with pytest.raises(ConfigError, match="at least one"):
        expand([])


def test_every_model_gets_its_own_folders_and_the_same_probe(tmp_path):
    config = _config(tmp_path, seeds=[0, 1], lams=["lam_lara_tiny", "lam_lara_tiny lam.queries=4"])
    models = plan({**config, "overrides": ["stage.steps=7"]})
    assert [(m.label, m.seed, m.steps) for m in models] == [
        (label, seed, 7) for label in ("lam_lara_tiny", "lam_lara_tiny lam.queries=4") for seed in (0, 1)
    ]
    assert len({m.run for m in models}) == len({m.probes for m in models}) == 4
    asked = [[a for a in m.probe.arguments if not a.startswith(("checkpoint=", "output="))] for m in models]
    assert all(a == asked[0] for a in asked)
    for m in models:
        resolved(compose("probe", m.probe.arguments[1:]))
        assert resolved(compose("train", m.train.arguments[1:]))["seed"] == m.seed


def test_mistakes_are_said_before_anything_trains(tmp_path):
    with pytest.raises(ConfigError, match="no latent action model"):
        plan(_config(tmp_path, lams=["demo_dit_only"]))
    with pytest.raises(ConfigError, match="quieries"):
        plan(_config(tmp_path, lams=["lam_lara_tiny", "lam_alam_tiny lam.quieries=4"]))
    with pytest.raises(ConfigError, match="seeds"):
        plan(_config(tmp_path, seeds=[0, 0]))
    with pytest.raises(ConfigError, match="workers"):
        plan(_config(tmp_path, workers=0))


def test_what_is_finished_is_not_repeated_and_a_new_training_is_probed_anew(tmp_path):
    _, models, first = _family(tmp_path, _config(tmp_path))
    assert sorted(first.ran) == sorted(s.name for m in models for s in (m.train, m.probe))
    _, _, second = _family(tmp_path, _config(tmp_path), Recorded(tmp_path))
    assert second.ran == []
    changed = _config(tmp_path, lams=["lam_lara_tiny", "lam_alam_tiny"], overrides=["stage.steps=9"])
    _, models, third = _family(tmp_path, changed, Recorded(tmp_path))
    assert sorted(third.ran) == sorted(s.name for m in models for s in (m.train, m.probe))
    _, models, fourth = _family(tmp_path, {**changed, "clips": 17}, Recorded(tmp_path))
    assert sorted(fourth.ran) == sorted(m.probe.name for m in models)


def test_a_failure_starts_nothing_more_and_goes_on_where_it_was(tmp_path):
    config = _config(tmp_path, workers=1)
    models = plan(config)
    broken = Recorded(tmp_path, fail=(models[0].probe.name,))
    with pytest.raises(LaraError, match="the last words"):
        run_chains([m.chain for m in models], broken, workers=1, title="lams")
    assert broken.ran == [models[0].train.name, models[0].probe.name]
    again = Recorded(tmp_path)
    run_chains([m.chain for m in models], again, workers=1, title="lams")
    assert again.ran == [models[0].probe.name, models[1].train.name, models[1].probe.name]
    # only the one that had been begun went on; its seconds are not all that it took
    assert {name: known["resumed"] for name, known in again.done.items()} == {
        models[0].train.name: False,
        models[0].probe.name: True,
        models[1].train.name: False,
        models[1].probe.name: False,
    }


def test_the_estimate_counts_the_steps_of_this_session(tmp_path):
    models = plan(_config(tmp_path, overrides=["stage.steps=100"]))
    runner = Recorded(tmp_path)
    one = models[0].run
    one.mkdir()
    (one / "metrics.jsonl").write_text('{"step": 40}\n')
    progress = Progress([m.chain for m in models], runner, title="lams")
    assert "40 of 200 steps, no estimate yet" in progress.line()
    (one / "metrics.jsonl").write_text('{"step": 40}\n{"step": 60}\n{"ste')
    # 20 steps in 60 s, 140 to go
    line = progress.line(now=progress.started + 60)
    assert "60 of 200 steps, about 7 min" in line
    assert f"{models[0].train.name} 60/100" in line


def test_tables_hold_every_models_numbers_and_their_baselines(tmp_path):
    family, models, runner = _family(tmp_path, _config(tmp_path))
    tables = {t.key: t for t in family.tables}
    assert set(tables) == {"psnr", "ssim", "additivity", "reversal", "degeneration", "actions", "codebook", "cost"} - {
        "codebook"
    }
    psnr = dict(tables["psnr"].rows)
    assert psnr["lam_lara_tiny: direct"] == ((24.5,), (None,))
    assert psnr["copy frame"] == psnr["pixel difference"] == ((20.0,), (18.0,))
    for key in ("psnr", "ssim", "additivity", "reversal", "degeneration", "actions"):
        rows = [name for name, _ in tables[key].rows]
        assert any("another's latent" in name for name in rows), key
        assert any("frame" in name for name in rows[-tables[key].baselines :]), key
        assert "pixel difference" in rows[-tables[key].baselines :], key
    assert family.reasons == {"lam_alam_tiny": {"codebook": "no codes"}}
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
    write_report(tmp_path, family, models, runner.done)
    assert json.loads((tmp_path / "lams.json").read_text())["tables"]["psnr"]["rows"]["copy frame"] == [[20.0], [18.0]]
    page = (tmp_path / "lams.html").read_text()
    assert page.count("<section>") == len(tables) + 2
    assert "<script" not in page
    assert 'src="http' not in page


def test_seeds_are_cells_with_a_spread(tmp_path):
    config = _config(tmp_path, seeds=[0, 1], lams=["lam_lara_tiny"])
    models, runner = plan(config), Recorded(tmp_path)
    run_chains([m.chain for m in models], runner, workers=1, title="lams")
    (models[1].probes / "probes.json").write_text(json.dumps(record("other", offset=2.0)))
    family = gather(models, runner.done, config, command="")
    row = dict(next(t for t in family.tables if t.key == "psnr").rows)["lam_lara_tiny: direct"]
    assert row[0] == (24.5, 26.5)
    assert shown(row[0], 2) == "25.50 ± 1.41"
    assert shown((1.0, None), 2) == "–"
    assert shown((1234.5,), 0) in ("1,234", "1,235")


@pytest.mark.parametrize("what", ["episodes", "baseline"])
def test_models_that_saw_other_clips_are_not_put_side_by_side(tmp_path, what):
    config = _config(tmp_path)
    models, runner = plan(config), Recorded(tmp_path)
    run_chains([m.chain for m in models], runner, workers=1, title="lams")
    other = copy.deepcopy(record("y"))
    if what == "episodes":
        other["clips_of"]["episodes"] = [1, 2, 4]
    else:
        other["probes"]["horizons"]["rows"]["copy frame"] = {"psnr": [21.0, 18.0]}
    (models[1].probes / "probes.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="same clips"):
        gather(models, runner.done, config, command="")


def test_a_forgotten_step_runs_again(tmp_path):
    step = Step(name="a", arguments=("probe", "checkpoint=x"))
    runner = Recorded(tmp_path)
    (tmp_path / "a").mkdir()
    runner.run(step)
    assert Recorded(tmp_path).finished(step)
    runner.forget(step)
    assert not Recorded(tmp_path).finished(step)
