"""The import table of lara/README.md is the law; this reads it there, so that document and code cannot drift apart."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EVERYBODY = {"types", "errors", "specs", "config.build", "config.trust", "nn.weightless"}


def _table():
    text = (ROOT / "lara" / "README.md").read_text()
    block = re.search(r"<!-- imports -->\n```\n(.*?)```", text, re.S)
    assert block, "lara/README.md has no import table between <!-- imports --> and ```"
    rules = {}
    for line in block.group(1).splitlines():
        if line.strip():
            left, right = line.split("->")
            for name in left.split():
                rules[name] = {r.strip() for r in right.split() if r.strip() != "(nothing)"}
    return rules


def _room(module: str, rules) -> str | None:
    """The longest entry of the table that a module of lara belongs to: lara.store.checkpoint -> train.checkpoint."""
    pieces = module.split(".")[1:]
    for n in range(len(pieces), 0, -1):
        if ".".join(pieces[:n]) in rules or pieces[0] in EVERYBODY:
            return ".".join(pieces[:n]) if ".".join(pieces[:n]) in rules else pieces[0]
    return pieces[0] if pieces else None


def _imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            # `from lara.losses import flow` imports a module, `from lara.types import Batch` a name
            yield from (
                f"{node.module}.{a.name}" if _is_module(f"{node.module}.{a.name}") else node.module for a in node.names
            )


def _is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


FILES = sorted(p for d in ("lara", "sim_eval", "real_eval") for p in (ROOT / d).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_run_one_way(path):
    rules = _table()
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    package = name.split(".")[0]
    own = package if package != "lara" else _room(name, rules)
    if name == "lara":
        own = "face"
    assert own in rules or own in EVERYBODY, f"{name} is in no room of the import table"
    allowed = rules.get(own, set()) | EVERYBODY
    for imported in _imports(path):
        top = imported.split(".")[0]
        if top == "lara":
            room = _room(imported, rules)
            covered = (
                room is None
                or room.split(".")[0] == own.split(".")[0]
                or any(
                    imported.removeprefix("lara.") == a or imported.removeprefix("lara.").startswith(a + ".")
                    for a in allowed
                )
            )
            if package != "lara":
                covered = any(
                    imported.removeprefix("lara.") == a or imported.removeprefix("lara.").startswith(a + ".")
                    for a in allowed
                )
            assert covered or "*" in allowed, f"{name} ({own}) may not import {imported}; allowed: {sorted(allowed)}"
        elif top in ("sim_eval", "real_eval", "tests", "conf"):
            assert package == top, f"{name} may not import {imported}"
        elif top == "torch":
            assert package == "lara", f"{name} may not import torch"
            assert own not in ("evaluation", "serve.client", "errors", "specs"), f"{name} may not import torch"


def test_simulators_run_without_torch():
    import subprocess
    import sys

    code = (
        "import sys, importlib, pkgutil, sim_eval\n"
        "for m in pkgutil.walk_packages(sim_eval.__path__, 'sim_eval.'): importlib.import_module(m.name)\n"
        "assert 'torch' not in sys.modules, 'sim_eval imports torch'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
