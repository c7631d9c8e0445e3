"""A policy, a benchmark, a protocol -> a folder with every episode's outcome, intervals, a table and videos.

    <output>/protocol.json    what was measured, with its hash        policy.json   which policy
             episodes.jsonl   one line per finished episode           summary.json  rates with intervals
             table.md         the same for people                     videos/       first success and failure per task

The work list is fixed before anything runs, and every outcome depends on (task, episode) alone: neither the number of
processes nor the order of completion nor an interruption changes a result. Run again to finish an interrupted run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lara.errors import ConfigError, DataError, LaraError
from lara.evaluation.protocol import Protocol, protocol_differences, protocol_from_dict, spoken_instructions
from lara.evaluation.records import EpisodeLog, EpisodeRecord, record_from_dict
from lara.evaluation.sealed import seal, unseal
from lara.evaluation.statistics import summarise
from lara.evaluation.tables import SUCCESS_HEADERS, markdown_table, success_rows
from lara.serve.client import PolicyCard, card_from_dict
from lara.specs import action_spec_from_dict, observation_spec_from_dict, require_compatible
from lara.store.files import replace_file
from lara.store.lock import only_one
from lara.store.records import read_json, write_json
from sim_eval.pool import Pool
from sim_eval.tasks import decide_tasks, trained_tasks


def evaluate(
    *,
    benchmark: Mapping[str, Any],
    policy: Mapping[str, Any],
    protocol: Protocol | Mapping[str, Any],
    output: Path | str,
    processes: int = 1,
    videos: bool = True,
    episode_timeout: float = 300.0,
) -> dict[str, Any]:
    """Rolls a policy out on every (task, episode) of a protocol. Returns the dict of summary.json.

    benchmark, policy: `_target_` configs of this project's classes; the protocol's scene is passed to the benchmark.
    protocol:          with tasks=None those that the policy was trained on are judged (all of the benchmark's for a
                       policy that learned from no data). Tasks that it was not trained on are marked wherever shown.
    output:            a new folder, or that of the same run (same protocol hash, same policy) to be finished.
    videos:            after the measurement, the first success and the first failure of each task are rolled out once
                       more and filmed. The repetition must end as the original did: `replay_mismatches` counts.
    episode_timeout:   seconds after which an episode is given up as an error and its process replaced.
    Raises SpecError or ConfigError before anything runs when the two sides do not fit, and LaraError at the end, with
    everything written, when some episodes ended in an error: they are no measurement, and running again retries them.
    """
    if not isinstance(protocol, Protocol):
        protocol = protocol_from_dict(protocol)
    output = Path(output)
    started = time.perf_counter()
    arguments = (dict(benchmark), dict(policy), protocol.to_dict())
    useful = processes if protocol.tasks is None else min(processes, len(protocol.work()))
    with contextlib.ExitStack() as alone:
        with Pool(arguments, processes=useful, episode_timeout=episode_timeout) as pool:
            card = card_from_dict(pool.facts["card"])
            protocol = decide_tasks(protocol, pool.facts, card)
            protocol = _checked(protocol, pool.facts, card)
            spoken = spoken_instructions(protocol, pool.facts["instructions"])
            alone.enter_context(only_one(output, "evaluating"))
            log = _open_run(output, protocol, card)
            _measure(pool, protocol, log, spoken)
            mismatches = _film(pool, protocol, log, spoken, output / "videos") if videos else None
            tiers, trained = pool.facts["tasks"], trained_tasks(pool.facts, card)
        records = [log.records[key] for key in protocol.work()]
        measured = summarise(records, tiers)
        for task, row in measured["tasks"].items():
            row["trained"] = None if trained is None else task in trained
        summary = {
            "protocol": protocol.hash,
            "policy": card.to_dict(),
            "privileged": card.privileged,
            "instruction": protocol.instruction,
            "executed_per_chunk": min(protocol.execute, card.horizon),
            **measured,
            "untrained_tasks": [task for task, row in measured["tasks"].items() if row["trained"] is False],
            "clipped": sum(r.clipped for r in records),
            "episode_seconds": sum(r.seconds for r in records),
            "wall_seconds": time.perf_counter() - started,
            "processes": processes,
            "replay_mismatches": mismatches,
        }
        write_json(output / "summary.json", summary)
        replace_file(output / "table.md", _report(summary, protocol).encode())
        seal(output)
    _raise_errors(records, output)
    return summary


def _checked(protocol: Protocol, facts: dict[str, Any], card: PolicyCard) -> Protocol:
    """The protocol with the versions that run, after every check that can be made without running an episode."""
    body_observation = observation_spec_from_dict(facts["observation"])
    require_compatible(
        policy_action=card.action,
        body_action=action_spec_from_dict(facts["action"]),
        policy_observation=card.observation,
        body_observation=body_observation,
    )
    problems = []
    if protocol.benchmark != facts["name"]:
        problems.append(f"the protocol is for '{protocol.benchmark}', the benchmark is '{facts['name']}'")
    strangers = [t for t in protocol.decided_tasks() if t not in facts["tasks"]]
    if strangers:
        problems.append(f"the benchmark has no tasks {strangers}; it has {list(facts['tasks'])}")
    if protocol.state != body_observation.state:
        problems.append(f"protocol.state is {protocol.state}, the benchmark gives {body_observation.state}")
    if facts["episode_limit"] is not None and protocol.episodes > facts["episode_limit"]:
        problems.append(f"{protocol.episodes} episodes per task asked for, at most {facts['episode_limit']} differ")
    steps = protocol.settle_steps + protocol.max_steps
    if facts["step_limit"] is not None and steps > facts["step_limit"]:
        problems.append(f"{steps} steps (settling included) asked for, the simulator stops after {facts['step_limit']}")
    if card.image_size is not None and protocol.image_size % card.image_size:
        problems.append(
            f"the policy wants {card.image_size} px images, the protocol renders {protocol.image_size} px, "
            "which is not a multiple of it"
        )
    if problems:
        raise ConfigError("this evaluation cannot run:\n  " + "\n  ".join(problems))
    return protocol.with_versions(facts["versions"])


def _open_run(output: Path, protocol: Protocol, card: PolicyCard) -> EpisodeLog:
    """Creates the run folder, or continues one of the same protocol and policy."""
    output.mkdir(parents=True, exist_ok=True)
    protocol_file, policy_file = output / "protocol.json", output / "policy.json"
    if protocol_file.exists():
        earlier = protocol_from_dict(read_json(protocol_file, DataError))
        if earlier.hash != protocol.hash:
            raise ConfigError(
                f"{output} holds a run of another protocol (there | now):\n  "
                + "\n  ".join(protocol_differences(earlier, protocol))
                + "\nGive a new output folder."
            )
    elif (output / "episodes.jsonl").exists():
        raise DataError(f"{output} has episodes.jsonl but no protocol.json; give a new output folder")
    if policy_file.exists() and read_json(policy_file, DataError) != card.to_dict():
        raise ConfigError(f"{output} holds a run of another policy, see {policy_file}; give a new output folder")
    unseal(output)
    write_json(policy_file, card.to_dict())
    write_json(protocol_file, protocol.to_dict())
    return EpisodeLog(output / "episodes.jsonl")


def _measure(pool: Pool, protocol: Protocol, log: EpisodeLog, spoken: dict[str, str]) -> None:
    finished = log.finished
    items = [_item(key, spoken, None) for key in protocol.work() if key not in finished]
    outcomes = [bool(log.records[key].success) for key in finished]
    errors = 0
    with tqdm(total=len(protocol.work()), initial=len(finished), unit="episode", desc="evaluate") as bar:
        for _, answer in pool.run(items):
            record = record_from_dict(answer, "answer of a simulator process")
            log.append(record)
            errors += record.error is not None
            if record.error is None:
                outcomes.append(bool(record.success))
            bar.set_postfix_str(f"success {_percent(outcomes)}, errors {errors}", refresh=False)
            bar.update()


def _film(pool: Pool, protocol: Protocol, log: EpisodeLog, spoken: dict[str, str], folder: Path) -> int:
    """Repeats and films the first success and the first failure of each task; how many ended differently.

    "First" is by episode number, so the same episodes are filmed whatever the number of processes. Filming afterwards
    keeps the measurement free of extra rendering, and repeats a part of it, which is a check of determinism.
    """
    items = []
    for task in protocol.decided_tasks():
        records = [log.records[task, i] for i in range(protocol.episodes)]
        for wanted, name in ((True, "success"), (False, "failure")):
            first = next((r for r in records if r.success is wanted), None)
            if first is not None:
                path = folder / f"{task}_{name}_episode{first.episode}.mp4"
                if not path.exists():
                    items.append(_item(first.key, spoken, path))
    mismatches = 0
    for item, answer in tqdm(pool.run(items), total=len(items), unit="video", desc="film", disable=not items):
        if answer["error"] is not None:
            raise LaraError(f"filming ({item['task']}, {item['episode']}) failed: {answer['error']}")
        record = log.records[item["task"], item["episode"]]
        mismatches += (answer["success"], answer["steps"]) != (record.success, record.steps)
    return mismatches


def _item(key: tuple[str, int], spoken: dict[str, str], video: Path | None) -> dict[str, Any]:
    return {
        "task": key[0],
        "episode": key[1],
        "instruction": spoken[key[0]],
        "video": None if video is None else str(video),
    }


def _report(summary: dict[str, Any], protocol: Protocol) -> str:
    policy = summary["policy"]
    notes = [f"policy `{policy['name']}` ({policy['identity']}), protocol `{summary['protocol']}`"]
    if summary["privileged"]:
        notes.append("PRIVILEGED: this policy reads the simulator's state; it is a ceiling, not a result.")
    if protocol.instruction == "wrong":
        notes.append("CONTROL: every task was given another task's instruction.")
    if summary["untrained_tasks"]:
        notes.append(f"NOT TRAINED: the policy's training data holds no {', '.join(summary['untrained_tasks'])}.")
    if protocol.render_profile == "fast":
        notes.append("Fast renders: not comparable to published numbers.")
    if summary["errors"]:
        notes.append(f"INCOMPLETE: {summary['errors']} of {summary['episodes']} episodes ended in an error.")
    return "\n\n".join([*notes, markdown_table(SUCCESS_HEADERS, success_rows(summary))])


def _raise_errors(records: list[EpisodeRecord], output: Path) -> None:
    errors = [r for r in records if r.error is not None]
    if errors:
        first = errors[0]
        raise LaraError(
            f"{len(errors)} of {len(records)} episodes ended in an error and are no measurement; the first is "
            f"({first.task}, {first.episode}): {first.error}. See {output / 'episodes.jsonl'}; run again with the same "
            "settings to retry only these"
        )


def _percent(outcomes: list[bool]) -> str:
    return f"{100 * sum(outcomes) / len(outcomes):.1f} %" if outcomes else "-"
