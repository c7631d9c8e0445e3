"""SIGKILL at random instants changes no byte of the table, whoever is hit: the run, a worker, a worker on Ray."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lara.errors import LaraError, MissingExtraError
from lara.label.run import LabelSettings, label
from tests.data.worlds import write
from tests.label.kill_resume import LENGTHS
from tests.label.worlds import files, joint_run

SETTINGS = {"shard_frames": 10, "batch_size": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("kill")
    write(root / "data", LENGTHS)
    joint_run(root / "lam")
    settings = LabelSettings(workers=0, **SETTINGS)
    label(lam=root / "lam", dataset=root / "data", output=root / "straight", settings=settings)
    return root


def _trials(count):
    command = [sys.executable, "-m", "tests.label.kill_resume", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_killed_run_ends_as_if_nothing_had_happened():
    assert _trials(1)["identical"] == 1


@pytest.mark.long
def test_ten_killed_runs_end_as_if_nothing_had_happened():
    report = _trials(10)
    assert report["identical"] == 10
    assert report["kills"] >= 10


def test_a_killed_worker_costs_its_unit_and_nothing_else(world, monkeypatch):
    import lara.label.local as local

    crew = []
    spawn = local._spawn

    def remembered(*arguments):
        crew.append(spawn(*arguments))
        return crew[-1]

    monkeypatch.setattr(local, "_spawn", remembered)

    def kill():
        while not crew:
            time.sleep(0.01)
        os.kill(crew[0].process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    settings = LabelSettings(workers=1, **SETTINGS)
    label(lam=world / "lam", dataset=world / "data", output=world / "hurt", settings=settings)
    thread.join()
    assert len(crew) == 2
    assert files(world / "hurt") == files(world / "straight")


def test_a_unit_that_kills_every_worker_ends_the_run(world, monkeypatch):
    import lara.label.local as local

    class Dead:
        exitcode = -9

        def join(self, timeout=None):
            pass

        kill = join

    class Closed:
        def recv_bytes(self):
            raise EOFError

        def send_bytes(self, _):
            raise BrokenPipeError

        def close(self):
            pass

    monkeypatch.setattr(local, "_spawn", lambda job, number: local._Process(Dead(), Closed(), number))
    monkeypatch.setattr(local, "wait", lambda pipes: pipes)
    with pytest.raises(LaraError, match="took 3 worker processes"):
        label(
            lam=world / "lam",
            dataset=world / "data",
            output=world / "never",
            settings=LabelSettings(workers=1, **SETTINGS),
        )


def test_what_a_worker_raises_is_raised_here(world, tmp_path):
    import shutil

    shutil.copytree(world / "data", tmp_path / "data")
    video = next((tmp_path / "data").rglob("*top*/**/*.mp4"))
    content = bytearray(video.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    video.write_bytes(content)
    with pytest.raises(LaraError, match=r"mp4|episode"):
        label(
            lam=world / "lam",
            dataset=tmp_path / "data",
            output=tmp_path / "labels",
            settings=LabelSettings(workers=1, **SETTINGS),
        )


def _ray():
    try:
        import ray
    except ImportError:
        return None
    return ray


@pytest.mark.skipif(_ray() is not None, reason="Ray is installed")
def test_without_ray_its_extra_is_named(world, tmp_path):
    with pytest.raises(MissingExtraError, match=r"\.\[ray\]"):
        label(
            lam=world / "lam",
            dataset=world / "data",
            output=tmp_path / "labels",
            settings=LabelSettings(engine="ray", **SETTINGS),
        )


@pytest.mark.ray
@pytest.mark.skipif(_ray() is None, reason="Ray is not installed (pip install -e '.[ray]')")
def test_a_worker_killed_on_ray_loses_and_doubles_no_row(world, monkeypatch):
    import lara.label.on_ray as on_ray

    class Told(on_ray.Worker):
        """Writes its process id down, so that the test can kill it in the middle."""

        def run(self, unit):
            with open(world / "pids", "a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(0.5)
            return super().run(unit)

    monkeypatch.setattr(on_ray, "Worker", Told)

    def kill():
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if (world / "pids").exists() and (found := (world / "pids").read_text().split()):
                return os.kill(int(found[0]), signal.SIGKILL)
            time.sleep(0.05)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    settings = LabelSettings(engine="ray", workers=2, **SETTINGS)
    label(lam=world / "lam", dataset=world / "data", output=world / "ray", settings=settings)
    thread.join()
    seen = (world / "pids").read_text().split()
    assert len(set(seen)) >= 3  # two, and the one that took the dead one's place
    assert files(world / "ray") == files(world / "straight")
