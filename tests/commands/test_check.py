"""`lara check`: an exit code by severity, no experiment needed, flags that are believed."""

from __future__ import annotations

import json

import pytest

import lara.data.check.opened as opened
from lara.cli import main
from lara.data.frames.encode import ImageStorage
from lara.data.sources.auto import AnyFormat
from lara.data.sources.source import Finding
from tests.data import worlds
from tests.data.check.worlds import Fake

ERROR = Finding(severity="error", kind="not finite", where="episode 1, frame 2", said="action[1] is nan; mend it")
ODD = Finding(severity="unusual", kind="clock jitter", where="a.parquet", said="0.1 ms off", count=7)


@pytest.fixture
def source(monkeypatch):
    """Whatever folder is named, this is in it."""
    one = Fake()
    monkeypatch.setattr(AnyFormat, "open", lambda self, root: one)
    return one


def check(*words, capsys):
    code = main(["check", "data=lerobot", "data.root=somewhere/here/x", *words])
    out = capsys.readouterr()
    return code, out.out + out.err


@pytest.mark.parametrize(("said", "code"), [((), 0), ((ODD,), 0), ((ODD, ERROR), 2), ((ERROR,), 2)])
def test_the_exit_code_is_that_of_the_worst_finding(source, capsys, said, code):
    source.said = said
    found, out = check(capsys=capsys)
    assert found == code
    assert out.splitlines()[-1].startswith("verdict: " + ("no errors" if code == 0 else "1 kind of error"))
    for finding in said:
        assert finding.kind in out
        assert finding.where in out
    assert "robot.control is unknown" in out
    assert "actions: 3 (a0, a1, a2)" in out
    assert source.asked == {"decode": False, "cameras": ("top", "wrist")}


def test_cameras_and_flags_are_believed(source, capsys):
    code, _ = check("--decode", "data.cameras=[wrist]", capsys=capsys)
    assert code == 0
    assert source.asked == {"decode": True, "cameras": ("wrist",)}
    code, out = check("data.cameras=[wirst]", capsys=capsys)
    assert code == 2
    assert "Did you mean 'wrist'" in out
    code, out = check("--fix-stat", capsys=capsys)
    assert code == 2
    assert "--fix-stat" in out
    code, out = check("data.split.validation_fraction=1.5", capsys=capsys)
    assert code == 2
    assert "validation_fraction" in out


def test_fix_stats_mends_and_says_so(monkeypatch, tmp_path, capsys):
    root = tmp_path / "set"
    worlds.write(root, storage=ImageStorage())
    fake = Fake(root=str(root))
    monkeypatch.setattr(AnyFormat, "open", lambda self, root: fake)
    path = root / "meta/stats.json"
    right = json.loads(path.read_text())
    path.write_text(json.dumps(right | {"action": {**right["action"], "max": [9.0, 9.0, 9.0]}}))
    code = main(["check", "data=lerobot", f"data.root={root}", "--fix-stats"])
    assert code == 0
    assert "meta/stats.json: action: missing or wrong: max" in capsys.readouterr().out
    assert json.loads(path.read_text())["action"]["max"] == pytest.approx(right["action"]["max"])
    main(["check", "data=lerobot", f"data.root={root}", "--fix-stats"])
    assert "right already" in capsys.readouterr().out


def test_a_snapshot_of_the_hub_is_not_rewritten(monkeypatch, source, capsys):
    monkeypatch.setattr(opened, "resolve_root", lambda root: root)
    code = main(["check", "data=lerobot", "data.root=hub://lab/push", "--fix-stats"])
    assert code == 2
    assert "copy the folder" in capsys.readouterr().err


def test_without_a_root_it_says_how_one_is_given(capsys):
    assert main(["check", "data=lerobot"]) == 2
    assert "data.root=... (a folder, or hub://owner/name)" in capsys.readouterr().err
