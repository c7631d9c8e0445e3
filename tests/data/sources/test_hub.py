"""hub:// addresses, against a Hub of this machine: every way in which it can fail has a message of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lara.data.sources.hub import resolve_root
from lara.errors import ConfigError

pytest.importorskip("huggingface_hub", reason="addresses of the Hub need huggingface_hub (the extra vlm)")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"lab/push": {"meta/info.json": b"{}", "data/x.parquet": b"xyz"}, "lab/model": {"config.json": b"{}"}}
SCRIPT = """
import sys
from lara.data.sources.hub import resolve_root
from lara.errors import LaraError
try:
    print("FOLDER", resolve_root(sys.argv[1]))
except LaraError as error:
    print(type(error).__name__, error)
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a snapshot asks for."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def _answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        if "lab/gated" in self.path:
            return self._answer(403, X_Error_Code="GatedRepo", X_Error_Message="ask")
        if "lab/broken" in self.path:
            return self._answer(503)
        api = re.match(r"/api/datasets/(\w+/\w+)(?:/(revision|tree)/([^/?]+))?", self.path)
        file = re.match(r"/datasets/(\w+/\w+)/resolve/(\w+)/(.+)", self.path)
        name = (api or file)[1]
        if name not in FILES:
            return self._answer(401, X_Error_Code="RepoNotFound", X_Error_Message="no")
        revision = file[2] if file else api[3] or "main"
        if revision not in ("main", "v1", COMMIT):
            return self._answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="no")
        if file:
            content = FILES[name][file[3]]
            return self._answer(200, content, ETag=f'"{file[3].replace("/", "-")}"', X_Repo_Commit=COMMIT)
        if api[2] == "tree":
            entries = [
                {"type": "file", "path": p, "size": len(c), "oid": p.replace("/", "-")} for p, c in FILES[name].items()
            ]
            return self._answer(200, json.dumps(entries).encode(), Content_Type="application/json")
        siblings = [{"rfilename": path} for path in FILES[name]]
        body = {
            "id": name,
            "sha": COMMIT,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
        }
        return self._answer(200, json.dumps(body).encode(), Content_Type="application/json")


@pytest.fixture(scope="module")
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def ask(address: str, endpoint: str, home: Path, *, offline: bool = False) -> str:
    """In a process of its own: huggingface_hub reads its settings when imported."""
    away = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    own = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, address],
        capture_output=True,
        text=True,
        env=away | own,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_dataset_comes_once_pinned_and_is_there_without_a_network(hub, tmp_path):
    said = ask("hub://lab/push", hub, tmp_path)
    assert f"hub://lab/push@{COMMIT}" in said  # what a person writes to get the same again
    folder = Path(said.split("FOLDER ")[1].strip())
    assert (folder / "data/x.parquet").read_bytes() == b"xyz"
    nobody = "http://127.0.0.1:9"
    assert str(folder) in ask("hub://lab/push", hub, tmp_path, offline=True)
    assert str(folder) in ask(f"hub://lab/push@{COMMIT}", nobody, tmp_path)
    unreachable = ask("hub://lab/push", nobody, tmp_path)
    assert "cannot be reached" in unreachable
    assert str(folder) in unreachable


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("hub://lab/gated", "DataError", "accept its terms"),
        ("hub://lab/nothing", "DataError", "knows no dataset of this name"),
        ("hub://lab/push@v9", "DataError", "no revision 'v9'"),
        ("hub://lab/model", "DataError", "not a LeRobot dataset"),
        ("hub://lab/broken", "MachineError", "cannot be reached"),
    ],
)
def test_each_failure_has_its_own_message(hub, tmp_path, address, kind, words):
    said = ask(address, hub, tmp_path)
    assert kind in said
    assert words in said


def test_offline_without_a_copy_says_so(tmp_path):
    said = ask("hub://lab/push", "http://127.0.0.1:9", tmp_path, offline=True)
    assert said.startswith("MachineError")
    assert "HF_HUB_OFFLINE" in said


@pytest.mark.parametrize(
    "wrong", ["hub://push", "hub://a/b/c", "hub://../x", "hub://a/..", "hub://a/b@", "hub:// a/b", "hub://-a/b"]
)
def test_other_forms_are_refused_before_anything_is_asked(wrong):
    with pytest.raises(ConfigError, match=r"write hub://owner/name"):
        resolve_root(wrong)


def test_paths_stay_paths_and_a_bare_name_is_answered_with_the_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, Path("data/two"), "x", "a/b/c"):
        (tmp_path / "data").mkdir(exist_ok=True)
        assert resolve_root(path) == Path(path)
    with pytest.raises(ConfigError, match="hub://lerobot/pusht"):
        resolve_root("lerobot/pusht")
