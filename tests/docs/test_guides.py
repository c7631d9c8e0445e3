"""Every guide is executed as it stands: its files are written, its commands run, what had to be touched is counted."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
# what the project asks of each; the guides' own table says how many there are
MOST = {"1_latent_space": (3, 0), "2_host": (8, 1), "3_coupling": (2, 1), "4_dataset_format": (3, 0)}
# pytest comes first in every guide, because shapes are only checked in modules that nobody imported before
RUN = """
import json, sys
for program, arguments in json.loads(sys.argv[1]):
    print("$", program, *arguments, flush=True)
    if program == "pytest":
        import pytest
        code = pytest.main(["-p", "no:cacheprovider", *arguments])
    elif program == "python":
        import subprocess
        code = subprocess.run([sys.executable, "-m", *arguments]).returncode
    else:
        from lara.cli import main
        code = main(["--debug", *arguments])
    if code:
        sys.exit(f"exit code {code}")
"""


def _blocks(guide: str, language: str) -> list[tuple[str, str]]:
    """(title, content) of each fenced block of one language."""
    text = (GUIDES / f"{guide}.md").read_text()
    return re.findall(rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```$', text, re.M | re.S)


def _files(guide: str) -> dict[str, str]:
    return {title: content for kind in ("python", "yaml") for title, content in _blocks(guide, kind) if title}


def _written_by_commands(guide: str) -> list[str]:
    return [title for title, _ in _blocks(guide, "text") if title]


def _commands(guide: str) -> list[tuple[str, list[str]]]:
    """(pytest, python for a module that is run, or lara; its arguments) of each line of the shell blocks."""
    commands = []
    for _, content in _blocks(guide, "bash"):
        for line in content.splitlines():
            words = shlex.split(line)
            if words[:3] == [".venv/bin/python", "-m", "pytest"]:
                commands.append(("pytest", words[3:]))
            elif words[:2] == [".venv/bin/python", "-m"]:
                commands.append(("python", words[2:]))
            else:
                assert words[0] == "lara", f"{guide}: a command that the test cannot run: {line}"
                commands.append(("lara", words[1:]))
    return commands


def _run(tree: Path, commands: list[tuple[str, list[str]]]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The dataset of the guides' first page, made by its own command."""
    folder = tmp_path_factory.mktemp("toy")
    assert _commands("index")
    _run_in_the_checkout(folder, _commands("index"))
    return folder / "data" / "toy"


def _run_in_the_checkout(folder: Path, commands: list[tuple[str, list[str]]]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", RUN, json.dumps(commands)], cwd=folder, env=environment, check=True)


@pytest.fixture
def tree(tmp_path, toy):
    """A copy of the project, because a guide adds files to it."""
    for name in ("lara", "conf", "tests", "sim_eval", "real_eval", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)  # with its bytecode, which is valid for the copy
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "toy").symlink_to(toy)
    return tmp_path


@pytest.mark.parametrize("guide", [pytest.param(g, marks=pytest.mark.long) if g == "2_host" else g for g in MOST])
def test_a_guide_works_as_it_stands(guide, tree):
    for path, content in _files(guide).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    for check in (["check"], ["format", "--diff"]):
        ruff = [
            sys.executable,
            "-m",
            "ruff",
            *check,
            "--no-cache",
            *(path for path in _files(guide) if path.endswith(".py")),
        ]
        done = subprocess.run(ruff, cwd=tree, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    commands = _commands(guide)
    assert commands[0][0] == "pytest"
    assert (commands[-1][0], commands[-1][1][0]) == ("lara", "train")
    said = _run(tree, commands)
    assert " passed" in said
    assert not re.search(r"\d+ (failed|skipped|error)", said), said[-2000:]
    output = next(word.removeprefix("output=") for word in commands[-1][1] if word.startswith("output="))
    assert json.loads((tree / output / "result.json").read_text())["finished"]


@pytest.mark.parametrize("guide", MOST)
def test_a_guide_touches_no_more_files_than_it_says(guide):
    files = [*_files(guide), *_written_by_commands(guide)]
    new = [path for path in files if not (ROOT / path).exists()]
    edited = [path for path in files if (ROOT / path).exists()]
    assert len(set(files)) == len(files)
    most_new, most_edited = MOST[guide]
    assert len(new) <= most_new, new
    assert len(edited) <= most_edited, edited
    table = (GUIDES / "index.md").read_text()
    assert f"]({guide}.md) | {len(new)} | {len(edited)} |" in table


def test_every_guide_is_executed():
    assert {p.stem for p in GUIDES.glob("*.md")} - {"index"} == set(MOST)
