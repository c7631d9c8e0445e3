"""Units of work on this machine: in this process, or in several that may die at any moment."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from lara import errors
from lara.config.trust import trusted, under
from lara.errors import ConfigError, LaraError
from lara.label.job import Job, Worker

ATTEMPTS = 3


@dataclass
class _Process:
    process: BaseProcess
    pipe: Connection
    number: int
    unit: int | None = None


def run_local(job: Job, units: Sequence[int], workers: int) -> Iterator[dict[str, int]]:
    """Yields the counts of each unit as it is done, in any order, each unit exactly once.

    workers: processes (spawned, so a script that calls this needs its `if __name__ == "__main__"`); 0 does the work
    here. A process that dies costs the unit it was on, which another does again; a unit that took three processes
    with it ends the run with LaraError. What a worker raises is raised here.
    """
    if workers < 0:
        raise ConfigError(f"label.workers is 0 (this process) or more, got {workers}")
    if workers == 0:
        yield from _here(job, units)
        return
    waiting, deaths = deque(units), Counter[int]()
    crew = [_spawn(job, number) for number in range(min(workers, len(units)))]
    try:
        for one in crew:
            _give(one, waiting)
        while any(one.unit is not None for one in crew):
            busy = {one.pipe: one for one in crew if one.unit is not None}
            for pipe in wait(list(busy)):
                one = busy[pipe]  # type: ignore[index]
                unit = one.unit
                assert unit is not None
                try:
                    answer: dict[str, Any] | None = json.loads(one.pipe.recv_bytes())
                except (EOFError, ConnectionResetError):
                    answer = None
                if answer is None:
                    deaths[unit] += 1
                    _require_hope(one, unit, deaths[unit])
                    waiting.appendleft(unit)
                    _replace(one, job)
                elif "error" in answer:
                    raise getattr(errors, answer["error"], LaraError)(answer["text"])
                else:
                    yield answer["done"]
                _give(one, waiting)
    finally:
        for one in crew:
            one.process.kill()
            one.process.join()
            one.pipe.close()


def _here(job: Job, units: Sequence[int]) -> Iterator[dict[str, int]]:
    import torch

    before = torch.get_num_threads()
    try:
        worker = Worker(job)
        for unit in units:
            yield worker.run(unit)
    finally:
        torch.set_num_threads(before)


def _require_hope(one: _Process, unit: int, deaths: int) -> None:
    one.process.join(timeout=10)
    if deaths >= ATTEMPTS:
        raise LaraError(
            f"unit {unit} took {deaths} worker processes with it (last exit code {one.process.exitcode}); with -9 the "
            "machine was probably out of memory: lower label.batch_size or label.workers. Finished units are kept"
        )


def _give(one: _Process, waiting: deque[int]) -> None:
    one.unit = waiting.popleft() if waiting else None
    if one.unit is not None:
        with contextlib.suppress(BrokenPipeError, OSError):  # a process that died in this instant; its EOF is read next
            one.pipe.send_bytes(json.dumps(one.unit).encode())


def _spawn(job: Job, number: int) -> _Process:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=under, args=(trusted(), _work, theirs, job.to_dict(), number), daemon=True)
    process.start()
    theirs.close()
    return _Process(process=process, pipe=ours, number=number)


def _replace(one: _Process, job: Job) -> None:
    one.pipe.close()
    fresh = _spawn(job, one.number)
    one.process, one.pipe = fresh.process, fresh.pipe


def _work(pipe: Connection, job: dict[str, Any], number: int) -> None:
    """Body of a worker process: unit numbers in, counts out, as JSON; it leaves when the parent is gone."""
    worker: Worker | None = None
    while True:
        try:
            unit = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            worker = worker or Worker(Job(**{**job, "units": tuple(tuple(u) for u in job["units"])}), number)
            message: dict[str, Any] = {"done": worker.run(unit)}
        except LaraError as error:
            message = {"error": type(error).__name__, "text": str(error)}
        except Exception as error:  # carried to the parent, which ends the run with it
            message = {"error": "LaraError", "text": f"unit {unit}: {type(error).__name__}: {error}"}
        with contextlib.suppress(BrokenPipeError):
            pipe.send_bytes(json.dumps(message).encode())
