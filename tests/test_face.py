"""The public names of `import lara`: each is what its home has, and none costs anything before it is used."""

import subprocess
import sys

import pytest

import lara
from lara.errors import ConfigError
from tests.test_whole_program import SMALL

PUBLIC = [name for name in lara.__all__ if name != "__version__"]


def test_importing_the_package_imports_nothing():
    code = (
        "import sys; before = set(sys.modules); import lara; lara.__version__; dir(lara)\n"
        "heavy = {'torch', 'numpy', 'hydra', 'omegaconf', 'lara.config.compose', 'lara.face'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_what_its_home_has(name):
    import importlib

    module, _, inside = lara._LAZY[name].rpartition(".")
    assert getattr(lara, name) is getattr(importlib.import_module(module), inside)
    assert getattr(lara, name).__doc__
    assert name in dir(lara)


def test_no_submodule_can_take_the_place_of_a_public_name():
    """`import lara.train.loop` binds lara.train to the package, whatever a lazy attribute of that name would be."""
    import pkgutil

    assert not {m.name for m in pkgutil.iter_modules(lara.__path__)} & set(PUBLIC)


def test_whatever_was_imported_before_the_names_are_the_same():
    code = (
        "import lara.train.loop, lara.label.run, lara.evaluation.compare, lara\n"
        "from lara import evaluate, label_dataset, run_training\n"
        "assert all(map(callable, (evaluate, label_dataset, run_training)))\n"
        "import lara.train; assert lara.train.__name__ == 'lara.train' and lara.run_training is run_training"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = lara.trian


@pytest.mark.parametrize(
    ("function", "overrides", "message"),
    [
        ("run_training", ["experiment=demo_lraa", "data.root=x"], "demo/lara"),
        ("run_training", ["experiment=demo/lara"], "data.root=..."),
        ("run_training", ["experiment=demo/lara", "data.root=x", "stage.stepz=3"], "stage.steps"),
        (
            "run_training",
            ["experiment=lapa/tiny", "~stages.lam", "~stages.latent", "~stages.actions", "data.root=x"],
            "nothing trains",
        ),
        ("evaluate", ["client.chekpoint=x", "output=y"], "client.checkpoint"),
        ("evaluate", ["output=y"], "client.checkpoint=..."),
    ],
)
def test_wrong_overrides_are_the_errors_of_the_command(function, overrides, message, capsys):
    from lara.cli import main

    with pytest.raises(ConfigError) as raised:
        getattr(lara, function)(*overrides)
    assert message in str(raised.value)
    assert main([{"run_training": "train", "evaluate": "eval"}[function], *overrides]) == 2
    assert str(raised.value) in capsys.readouterr().err


def test_training_and_evaluating_from_python(tmp_path):
    from lara.cli import main

    data, cameras = tmp_path / "data", ["data.cameras=[top]", "data.lam.cameras=[top]"]
    collect = ["benchmark=toy", "tasks=[reach-red]", "episodes=2", f"output={data}", "processes=1"]
    assert main(["collect", *collect]) == 0
    given = ["experiment=demo/lara", f"data.root={data}", f"output={tmp_path}/run", *SMALL, *cameras, "stage.steps=1"]
    result = lara.run_training(*given)
    assert result.finished
    assert (result.step, result.exit_code) == (1, 0)
    assert "loss" in result.metrics
    assert lara.run_training(*given).checkpoint == result.checkpoint
    policy = lara.load_policy(checkpoint=str(result.output))
    assert policy.card().horizon == 4
    lam, saved = lara.load_lam(result.output)
    assert saved.card["embodiments"]["dot"]["lam_cameras"] == ["top"]
    assert lam.space.dim
    about = lara.label_dataset(lam=result.output, dataset=data, output=tmp_path / "labels")
    assert about["counts"]["frames"] > 0
    quick = ["protocol.episodes=1", "protocol.max_steps=4", "processes=1", "videos=false"]
    checkpoint, output = f"client.checkpoint={result.output}", f"output={tmp_path}/eval"
    summary = lara.evaluate("benchmark=toy", "protocol=toy", checkpoint, output, *quick)
    assert (summary["episodes"], summary["errors"]) == (1, 0)
