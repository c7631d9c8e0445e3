"""The command line as a user meets it: in a fresh process, without torch unless something needs it."""

import subprocess
import sys

import pytest

from lara.cli import COMMANDS, main


def _lara(*arguments):
    return subprocess.run([sys.executable, "-m", "lara.cli", *arguments], capture_output=True, text=True, timeout=60)


def test_help_comes_without_heavy_imports():
    code = (
        "import sys; from lara.cli import main; main([]); main(['--help']);"
        "heavy = [m for m in ('torch', 'hydra', 'numpy', 'omegaconf') if m in sys.modules]; assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_without_torch(command):
    code = (
        f"import sys; from lara.cli import main; code = main(['{command}', '--help'])\n"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"lara {command}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "experiment=demo_lra"], "Did you mean 'demo/lara'"),
        (["train", "experiment=demo/lara", "stage.stepz=3", "data.root=x"], "Did you mean 'stage.steps'"),
        (["train", "optm=adamw"], "'optim'"),
        (["train", "experiment=demo/lara"], "data.root=..."),
        (["eval", "client=expart", "output=x"], "Did you mean 'expert'?"),
        (["train", "=3"], "overrides are key=value"),
        (["compare", "one"], "two run folders"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest_right_one(arguments, answer, capsys):
    assert main(arguments) == 2
    assert answer in capsys.readouterr().err


def test_errors_are_one_message_and_exit_code_two():
    done = _lara("train", "experiment=demo/lara", "data.root=/nowhere/at/all")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "/nowhere/at/all" in done.stderr
