"""Gates that no reader can keep watch over: nothing hostile executes, nothing private is told, names exist."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
LIBRARY = [p for d in ("lara", "sim_eval", "real_eval") for p in sorted((ROOT / d).rglob("*.py"))]
FORBIDDEN = {
    "pickle": r"\bimport (c?pickle|dill|joblib|shelve)\b|\bfrom (c?pickle|dill|joblib) ",
    "eval or exec of text": r"(?<![\w.])(eval|exec)\(",
    "torch.load with pickle": r"weights_only\s*=\s*False|torch\.save\(",
    "numpy with pickle": r"allow_pickle\s*=\s*True",
    "shell": r"shell\s*=\s*True|os\.system\(|os\.popen\(",
    "unsafe yaml": r"yaml\.(unsafe_)?load\(",
    "remote code by default": r"trust_remote_code\s*[:=]\s*(bool\s*=\s*)?True",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_hostile_executes(what):
    found = [
        f"{path.relative_to(ROOT)}:{n}: {line.strip()}"
        for path in LIBRARY
        for n, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(FORBIDDEN[what], line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.skipif(not TRACKED, reason="not a git checkout")
def test_no_registry_host_and_no_large_file_is_tracked():
    registry = re.compile(r"--(extra-)?index-url|https?://[^ \"]*/(simple|packages|debian)/")
    for name in TRACKED:
        path = ROOT / name
        if not path.is_file() or name == "tests/test_hygiene.py":
            continue
        assert path.stat().st_size < 2**20, f"{name} is larger than 1 MiB"
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ""}:
            assert not registry.search(path.read_text(errors="ignore")), name


LONGEST_FILE, LONGEST_FUNCTION = 400, 80


def test_files_and_functions_can_be_read_in_a_sitting():
    """A function's lines are those of its definition, docstring and nested functions included."""
    too_long = []
    for path in [*LIBRARY, *sorted((ROOT / "tests").rglob("*.py"))]:
        text, place = path.read_text(), str(path.relative_to(ROOT))
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            too_long.append(f"{place}: {lines} lines; at most {LONGEST_FILE}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    too_long.append(f"{place}:{node.lineno}: {node.name} has {lines}; at most {LONGEST_FUNCTION}")
    assert not too_long, "\n".join(too_long)


def test_constraints_hold_names_and_versions_only():
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if x and not x.startswith("#")]
    assert len(lines) > 50
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line), line


def test_the_first_screen_of_the_readme_is_the_two_commands_that_are_run():
    readme = (ROOT / "README.md").read_text().splitlines()[:14]
    assert any(line.startswith("make demo") for line in readme)
    assert any(line.startswith("make test") for line in readme)
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_command_of_the_readme_exists():
    from lara.cli import COMMANDS

    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"`lara ([a-z]+)[ `]", text)) <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for experiment in re.findall(r"experiment=([a-z][\w/]*)", text):
        assert (ROOT / "conf" / "experiment" / f"{experiment}.yaml").exists(), experiment
