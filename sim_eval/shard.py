"""One shard of an evaluation: an OS process with its own simulator and its own policy.

It answers JSON to JSON over a pipe: first one line of facts about both sides, then one answer per work item. It decides
nothing: which episodes run, and what happens when it dies, is the parent's (`sim_eval.pool`).
"""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lara.config.build import build
from lara.errors import LaraError
from lara.evaluation.protocol import Protocol, protocol_from_dict
from lara.evaluation.records import EpisodeRecord
from lara.serve.client import PolicyClient
from lara.specs import spec_to_dict
from sim_eval.benchmark import Benchmark
from sim_eval.runner import run_episode
from sim_eval.video import EpisodeVideo


def build_benchmark(config: dict[str, Any], protocol: Protocol) -> Benchmark:
    """The benchmark of a `_target_` config with the scene that the protocol fixes."""
    benchmark: Benchmark = build(
        config,
        "body",
        goal_seed=protocol.goal_seed,
        cameras=list(protocol.cameras),
        image_size=protocol.image_size,
        camera_positions={camera: list(place) for camera, place in protocol.camera_positions},
        render_profile=protocol.render_profile,
    )
    return benchmark


def facts_of(benchmark: Benchmark, policy: PolicyClient) -> dict[str, Any]:
    """What the parent needs to check both sides before anything runs; JSON-ready."""
    tasks = benchmark.tasks()
    return {
        "name": benchmark.name,
        "action": spec_to_dict(benchmark.action),
        "observation": spec_to_dict(benchmark.observation),
        "step_limit": benchmark.step_limit,
        "episode_limit": benchmark.episode_limit,
        "tasks": tasks,
        "instructions": {task: benchmark.instruction(task) for task in tasks},
        "versions": benchmark.versions(),
        "card": policy.card().to_dict(),
    }


def shard_main(pipe: Connection, benchmark: dict[str, Any], policy: dict[str, Any], protocol: dict[str, Any]) -> None:
    """Body of the process. Sends {"facts": ...} or {"refused": text}; then answers items until it receives null.

    An item is {"task", "episode", "instruction", "video": path or null}; its answer is an episode record as a dict. An
    exception during an episode becomes a record with `error` set, and the simulator is built anew after it.
    """
    frozen = protocol_from_dict(protocol)
    try:
        body = build_benchmark(benchmark, frozen)
        client: PolicyClient = build(policy, "body")
        _send(pipe, {"facts": facts_of(body, client)})
    except Exception as error:  # the parent raises it: a policy or simulator that cannot be built ends the run
        if not isinstance(error, LaraError):
            traceback.print_exc()  # not written to be read by a user, but the only trace of where it came from
        _send(pipe, {"refused": f"{type(error).__name__}: {error}"})
        return
    while (item := _receive(pipe)) is not None:
        started = time.perf_counter()
        try:
            record = _run(body, client, frozen, item)
        except Exception as error:  # isolation: recorded as an error with its place, never as a failure of the policy
            record = error_record(item, _describe(error), time.perf_counter() - started)
            body.close()
            body = build_benchmark(benchmark, frozen)
        _send(pipe, {"record": asdict(record)})
    body.close()


def error_record(item: dict[str, Any], text: str, seconds: float) -> EpisodeRecord:
    return EpisodeRecord(
        task=item["task"],
        episode=item["episode"],
        success=None,
        steps=0,
        seconds=seconds,
        error=text,
        clipped=0,
        replans=0,
    )


def _run(body: Benchmark, client: PolicyClient, protocol: Protocol, item: dict[str, Any]) -> EpisodeRecord:
    episode = {"task": item["task"], "episode": item["episode"], "instruction": item["instruction"]}
    if item["video"] is None:
        return run_episode(benchmark=body, policy=client, protocol=protocol, **episode)
    video = EpisodeVideo(body, Path(item["video"]))
    record = run_episode(benchmark=body, policy=client, protocol=protocol, on_step=video.on_step, **episode)
    video.write()
    return record


def _describe(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno} in {last.name})"


def _receive(pipe: Connection) -> dict[str, Any] | None:
    try:
        message: dict[str, Any] | None = json.loads(pipe.recv_bytes())
        return message
    except EOFError:
        return None  # the parent is gone; so is the reason to go on


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())
