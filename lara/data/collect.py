"""Demonstrations -> a dataset on disk: several processes, resumable, and the same result however many there are.

A demonstrator (a scripted expert in a simulator, named by its `_target_`) makes attempts at tasks. Attempt k of a task
is a pure function of (demonstrator config, seed, task, k), and the dataset keeps the first N successes in ATTEMPT
order; so the number of processes, their speed and an interruption change nothing in the data. Every finished attempt
is staged in `<output>.staging/` and never made twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from lara.config.build import build
from lara.config.trust import adopt, trusted
from lara.data.episode import Episode
from lara.data.frames.encode import ImageStorage, VideoStorage
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.write import assemble, stage_episode
from lara.errors import ConfigError, DataError, nearest
from lara.faults import ctrl_c_held
from lara.specs import ActionSpec, ObservationSpec
from lara.store.files import remove_leftovers, retire_folder
from lara.store.lock import only_one
from lara.store.records import read_json, write_json

_REPORT = "collection.json"
Storage = VideoStorage | ImageStorage


class Demonstrator(Protocol):
    """Makes episodes. Built in every process as `Target(seed=..., **config)`.

    tasks():        the names it knows.
    demonstrate():  attempt k at a task: {"success": bool} and, if it succeeded or `keep_failures`, the fields of an
                    `Episode`: "images", "state", "actions", "task" (the instruction), "info". A pure function of the
                    constructor's arguments, the task and the attempt.
    """

    name: str
    action: ActionSpec
    observation: ObservationSpec

    def tasks(self) -> tuple[str, ...]: ...

    def demonstrate(self, task: str, attempt: int, *, keep_failures: bool) -> dict[str, Any]: ...


def collect(
    *,
    demonstrator: Mapping[str, Any],
    tasks: Sequence[str],
    episodes: int,
    seed: int,
    output: Path | str,
    fps: int,
    storage: Storage,
    processes: int = 1,
    keep_failures: bool = False,
) -> dict[str, Any]:
    """Collects `episodes` successes of each task into a dataset at `output`. Returns the dict of collection.json.

    demonstrator:   `_target_` config (without `seed`).
    fps:            frames per second of the dataset; must be the demonstrator's control rate.
    keep_failures:  failed attempts between the kept successes are stored too, with info["success"] = False.
    The report counts, per task, the tries up to the last kept success, and the failures among them.
    Raises ConfigError for unknown tasks or when staged attempts come from another configuration, DataError when a task
    succeeds too rarely, when an attempt raises (naming task and attempt), or when `output` exists already.
    """
    output, started = Path(output), time.perf_counter()
    if episodes < 1 or processes < 1 or not tasks or len(set(tasks)) != len(tasks):
        raise ConfigError(
            f"expected at least one episode, one process and distinct tasks, got episodes={episodes}, "
            f"processes={processes}, tasks={list(tasks)}"
        )
    request = {
        "demonstrator": dict(demonstrator),
        "seed": seed,
        "fps": fps,
        "keep_failures": keep_failures,
        "storage": {"kind": type(storage).__name__, **asdict(storage)},
    }
    fingerprint = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]
    wanted = {"fingerprint": fingerprint, "tasks": list(tasks), "episodes": episodes}
    staging = output.with_name(output.name + ".staging")
    report = _finished(output, wanted)
    if report is None:
        with only_one(staging, "collecting"):
            # asked again, because the process that held the lock may have published meanwhile
            report = _finished(output, wanted)
            if report is None:
                _claim(staging, request)
                job = {"demonstrator": dict(demonstrator), "seed": seed, "fps": fps, "storage": storage}
                job |= {"keep": keep_failures}
                books, made, robot = _gather(job, tasks, staging, episodes=episodes, processes=processes)
                report = {**wanted, **request, **_report(books, made, time.perf_counter() - started, processes)}
                staged = [folder for book in books for folder in book.kept()]
                # dataset and record appear in one rename: killed at any instant, there are both or neither
                assemble(staged, output, robot=robot, fps=fps, storage=storage, records={_REPORT: report})
    if staging.exists():
        retire_folder(staging)
    remove_leftovers(output.parent)  # of a run that was killed while it did this
    return report


def _gather(
    job: dict[str, Any], tasks: Sequence[str], staging: Path, *, episodes: int, processes: int
) -> tuple[list[_Book], dict[str, int], RobotCard]:
    """Makes the attempts that are missing. Returns the books, what was made now, and the robot."""
    fps = job["fps"]
    with _processes(processes) as pool:
        robot, known = pool.submit(_describe, job).result()
        for task in tasks:
            if task not in known:
                raise ConfigError(f"{robot.name} has no task '{task}'. {nearest(task, known)}")
        if fps != round(robot.action.rate_hz):
            raise ConfigError(
                f"fps={fps}, but {robot.name} is controlled at {robot.action.rate_hz:g} Hz and records every step; "
                f"give fps={round(robot.action.rate_hz)}"
            )
        books = [_Book(task, staging, episodes, job["keep"]) for task in tasks]
        return books, _run(pool, books, job, 2 * processes), robot


def _report(books: Sequence[_Book], made: Mapping[str, int], seconds: float, processes: int) -> dict[str, Any]:
    return {
        "task_reports": {book.task: book.report() for book in books},
        "frames": sum(book.report()["frames"] for book in books),
        "made_now": {"attempts": made["attempts"], "frames": made["frames"], "processes": processes},
        "seconds": seconds,
        "frames_per_second": made["frames"] / seconds,
    }


class _Book:
    """The attempts at one task: what is staged, what is under way, what is still needed."""

    def __init__(self, task: str, staging: Path, episodes: int, keep_failures: bool) -> None:
        self.task = task
        self._folder = staging / task
        self._folder.mkdir(parents=True, exist_ok=True)
        self.episodes = episodes
        self._keep_failures = keep_failures
        self._done: dict[int, dict[str, Any]] = {}
        for path in self._folder.glob("attempt_*.json"):
            self._done[int(path.stem.removeprefix("attempt_"))] = read_json(path, DataError)
        self._under_way: set[int] = set()

    def successes(self) -> int:
        count: int = min(self.episodes, sum(mark["success"] for mark in self._done.values()))
        return count

    def next_attempt(self) -> int | None:
        """The lowest attempt worth starting, or None while those under way may be enough.

        Holes come first: a success counts only when every attempt before it is known.
        """
        started = self._done.keys() | self._under_way
        attempt = next(k for k in range(len(started) + 1) if k not in started)
        hole = attempt < max(started, default=-1)
        hoped = sum(mark["success"] for mark in self._done.values()) + len(self._under_way)
        if hoped >= self.episodes and not hole:
            return None
        limit = 4 * self.episodes + 20
        if attempt >= limit:
            if self._under_way:
                return None  # they may still succeed; the verdict must not depend on who is fast
            raise DataError(
                f"{self.task}: only {self.successes()} of {self.episodes} succeeded in {limit} attempts; "
                "give the demonstrator more steps or less noise, or leave the task out"
            )
        self._under_way.add(attempt)
        return attempt

    def place(self, attempt: int) -> Path:
        return self._folder / f"attempt_{attempt:06d}"

    def add(self, attempt: int, mark: dict[str, Any]) -> None:
        self._under_way.discard(attempt)
        self._done[attempt] = mark

    def _counted(self) -> list[int]:
        """The attempts up to the N-th success in attempt order."""
        counted, successes = [], 0
        for attempt in sorted(self._done):
            if successes == self.episodes:
                break
            counted.append(attempt)
            successes += self._done[attempt]["success"]
        return counted

    def kept(self) -> list[Path]:
        return [self.place(k) for k in self._counted() if self._done[k]["success"] or self._keep_failures]

    def report(self) -> dict[str, Any]:
        counted = self._counted()
        failures = sum(not self._done[k]["success"] for k in counted)
        kept = [k for k in counted if self._done[k]["success"] or self._keep_failures]
        return {
            "tries": len(counted),
            "failures": failures,
            "episodes": len(kept),
            "frames": sum(self._done[k]["frames"] for k in kept),
        }


def _run(pool: ProcessPoolExecutor, books: list[_Book], job: dict[str, Any], ahead: int) -> dict[str, int]:
    """Keeps `ahead` attempts under way until every book is full, earliest task first."""
    under_way: dict[Future[dict[str, Any]], tuple[_Book, int]] = {}
    made = {"attempts": 0, "frames": 0}
    successes = [book.successes() for book in books]
    total = sum(book.episodes for book in books)
    with tqdm(total=total, initial=sum(successes), unit="episode", desc="collect") as bar:
        clock = time.perf_counter()
        while True:
            for book in books:
                while len(under_way) < ahead and (attempt := book.next_attempt()) is not None:
                    future = pool.submit(_attempt, job, book.task, attempt, book.place(attempt))
                    under_way[future] = (book, attempt)
            if not under_way:
                return made
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                book, attempt = under_way.pop(future)
                try:
                    mark = future.result()
                except Exception as error:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise DataError(
                        f"collecting task '{book.task}', attempt {attempt} failed: {type(error).__name__}: {error}; "
                        "what was collected is staged, run again to go on from there"
                    ) from error
                before = book.successes()
                book.add(attempt, mark)
                made["attempts"] += 1
                made["frames"] += mark["frames"]
                rate = made["frames"] / (time.perf_counter() - clock)
                bar.set_postfix_str(f"{book.task}, {rate:.0f} frames/s, {made['attempts']} attempts", refresh=False)
                bar.update(book.successes() - before)


# One demonstrator per process, kept between attempts: building a simulator takes a second.
_BUILT: list[Demonstrator] = []


def _demonstrator(job: dict[str, Any]) -> Demonstrator:
    if not _BUILT:
        _BUILT.append(build(job["demonstrator"], "body", seed=job["seed"]))
    return _BUILT[0]


def _describe(job: dict[str, Any]) -> tuple[RobotCard, tuple[str, ...]]:
    demonstrator = _demonstrator(job)
    robot = RobotCard(name=demonstrator.name, action=demonstrator.action, observation=demonstrator.observation)
    return robot, demonstrator.tasks()


def _attempt(job: dict[str, Any], task: str, attempt: int, place: Path) -> dict[str, Any]:
    """Makes and stages one attempt. Its mark, {"success", "frames"}, is written last: no mark, no attempt."""
    made = _demonstrator(job).demonstrate(task, attempt, keep_failures=job["keep"])
    success = made.pop("success")
    frames = 0
    if success or job["keep"]:
        episode = Episode(**made)
        if place.exists():
            shutil.rmtree(place)  # staged, then killed before the mark was written
        stage_episode(place, episode, fps=job["fps"], storage=job["storage"])
        frames = len(episode.actions)
    mark = {"success": bool(success), "frames": frames}
    write_json(place.with_name(place.name + ".json"), mark)
    return mark


def _finished(output: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The report of an earlier run that already did all this."""
    if not output.exists():
        return None
    report = output / _REPORT
    if report.exists() and all(read_json(report, DataError).get(key) == value for key, value in wanted.items()):
        said: dict[str, Any] | None = read_json(report, DataError)
        return said
    raise DataError(
        f"{output} exists and is not the finished result of this request; give another output, or remove it "
        "(attempts that are still staged beside it are used again)"
    )


def _claim(staging: Path, request: dict[str, Any]) -> None:
    """Staged attempts belong to one configuration; another one is refused rather than mixed in."""
    path = staging / "request.json"
    # Through JSON, so that tuples and lists compare equal.
    request = json.loads(json.dumps(request))
    if path.exists():
        earlier = read_json(path, DataError)
        changed = [k for k in request if request[k] != earlier.get(k)]
        if changed:
            said = "\n  ".join(f"{k}: staged {earlier.get(k)!r}, now {request[k]!r}" for k in changed)
            raise ConfigError(
                f"{staging} holds attempts of another configuration:\n  {said}\n"
                "Go back to that configuration, give another output, or remove the folder."
            )
        return
    staging.mkdir(parents=True, exist_ok=True)
    write_json(path, request)


@contextlib.contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Spawned (GL contexts do not survive a fork), and on one thread each: the parallelism is over attempts."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(count, mp_context=spawn, initializer=adopt, initargs=(trusted(),)) as pool:
            with ctrl_c_held():
                pool.submit(os.getpid).result()  # the first task starts all processes
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # those under way end, none is started
                raise
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
