"""Shards as OS processes: a fixed list of work in, one record per item out, whatever a shard does.

Processes are spawned, never forked (GL contexts and thread pools do not survive a fork). Each computes on one thread:
the parallelism is over episodes. A shard that dies or sits over one episode for too long costs that episode (an error
record) and is replaced; a shard that cannot even start ends the run.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from lara.config.trust import trusted, under
from lara.errors import ConfigError, LaraError
from lara.faults import ctrl_c_held
from sim_eval.shard import error_record, shard_main

# Read by OpenMP, MKL, OpenBLAS, and through them by torch, when they are first loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass
class _Shard:
    process: BaseProcess
    pipe: Connection
    item: dict[str, Any] | None = None
    since: float = 0.0


class Pool:
    """`processes` shards for one evaluation; a context manager that leaves no process behind.

    facts: what `sim_eval.shard.facts_of` says, from the first shard. Raises LaraError when a shard refuses to start.
    episode_timeout, start_timeout: seconds.
    """

    def __init__(
        self,
        arguments: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
        *,
        processes: int,
        episode_timeout: float,
        start_timeout: float = 600.0,
    ) -> None:
        if processes < 1 or episode_timeout <= 0:
            raise ConfigError(
                f"expected at least one process and a positive timeout, got {processes} and {episode_timeout}"
            )
        self._arguments = arguments
        self._episode_timeout = episode_timeout
        self._start_timeout = start_timeout
        self._shards: list[_Shard] = []
        try:
            self._shards = [self._spawn() for _ in range(processes)]
            greetings = [self._greet(shard) for shard in self._shards]
            self.facts = greetings[0]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, items: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yields (item, record as a dict) in order of completion; every item comes out exactly once.

        A shard stays with its task while there is work for it: changing the task rebuilds the simulator.
        """
        waiting = _Backlog(items)
        for shard in self._shards:
            self._assign(shard, waiting)
        while any(shard.item is not None for shard in self._shards):
            busy = {shard.pipe: shard for shard in self._shards if shard.item is not None}
            ready = [busy[pipe] for pipe in wait(list(busy), timeout=1.0) if isinstance(pipe, Connection)]
            for shard in ready:
                item = shard.item
                assert item is not None
                try:
                    record = json.loads(shard.pipe.recv_bytes())["record"]
                except (EOFError, ConnectionResetError):
                    shard.process.join(timeout=10)
                    record = self._lost(shard, f"the process died with exit code {shard.process.exitcode}")
                yield item, record
                self._assign(shard, waiting)
            for shard in self._shards:
                late = time.monotonic() - shard.since > self._episode_timeout
                if shard.item is not None and shard not in ready and late and not shard.pipe.poll():
                    item = shard.item
                    text = f"watchdog: not finished after {self._episode_timeout:g} s"
                    yield item, self._lost(shard, text)
                    self._assign(shard, waiting)

    def close(self) -> None:
        """Asks idle shards to leave; ends those that do not."""
        for shard in self._shards:
            if shard.item is None and shard.process.is_alive():
                # A shard that died in this instant has nothing left to be told.
                with contextlib.suppress(BrokenPipeError, OSError):
                    shard.pipe.send_bytes(b"null")
            else:
                shard.process.kill()
        for shard in self._shards:
            shard.process.join(timeout=10)
            if shard.process.is_alive():
                shard.process.kill()
                shard.process.join()
            shard.pipe.close()
        self._shards = []

    def _spawn(self) -> _Shard:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=under, args=(trusted(), shard_main, theirs, *self._arguments), daemon=True)
        with single_threaded(), ctrl_c_held():
            process.start()
        theirs.close()
        return _Shard(process=process, pipe=ours)

    def _greet(self, shard: _Shard) -> dict[str, Any]:
        if not shard.pipe.poll(self._start_timeout):
            raise LaraError(f"a shard said nothing for {self._start_timeout:g} s while it was being built")
        try:
            answer = json.loads(shard.pipe.recv_bytes())
        except EOFError as error:
            shard.process.join(timeout=10)
            raise LaraError(
                f"a shard died with exit code {shard.process.exitcode} while it was being built; "
                "its own output above says why (out of memory, or a graphics library that is missing)"
            ) from error
        if "refused" in answer:
            raise LaraError(f"policy or benchmark cannot be built: {answer['refused']}")
        facts: dict[str, Any] = answer["facts"]
        return facts

    def _assign(self, shard: _Shard, waiting: _Backlog) -> None:
        previous = None if shard.item is None else shard.item["task"]
        others = {s.item["task"] for s in self._shards if s is not shard and s.item is not None}
        shard.item, shard.since = waiting.take(previous, others), time.monotonic()
        if shard.item is not None:
            shard.pipe.send_bytes(json.dumps(shard.item).encode())

    def _lost(self, shard: _Shard, text: str) -> dict[str, Any]:
        """Replaces a shard that is dead or wedged; the record of the episode it was on."""
        assert shard.item is not None
        record = error_record(shard.item, text, time.monotonic() - shard.since)
        shard.process.kill()
        shard.process.join()
        shard.pipe.close()
        fresh = self._spawn()
        shard.process, shard.pipe = fresh.process, fresh.pipe
        self._greet(shard)
        return asdict(record)


class _Backlog:
    """Work not yet given out, by task, in its order."""

    def __init__(self, items: Sequence[dict[str, Any]]) -> None:
        self._queues: dict[str, list[dict[str, Any]]] = {}
        for item in items:
            self._queues.setdefault(item["task"], []).append(item)

    def take(self, previous: str | None, others: set[str]) -> dict[str, Any] | None:
        """The next item: of the same task, else of a task nobody is on, else of the longest queue."""
        if not self._queues:
            return None
        free = [task for task in self._queues if task not in others]
        if previous in self._queues:
            task = previous
        else:
            task = free[0] if free else max(self._queues, key=lambda t: len(self._queues[t]))
        assert task is not None
        item = self._queues[task].pop(0)
        if not self._queues[task]:
            del self._queues[task]
        return item


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Processes started inside compute on one thread: set before their imports, which is the only time it is read."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
