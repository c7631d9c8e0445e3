"""A dataset looked at as training would, without stopping at the first fault."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from lara.data.actions.normalize import Mode, Statistics
from lara.data.actions.remarks import remarks
from lara.data.sources.fingerprints import of_files
from lara.data.sources.source import EpisodeArrays, Finding, Source
from lara.data.split import split_episodes
from lara.data.statistics import Running
from lara.errors import DataError

KEPT = 1 << 27  # numbers that are held between the split and the statistics: 512 MB; larger datasets are read twice


@dataclass(frozen=True, kw_only=True)
class TaskShare:
    """One instruction's episodes and frames, for training and held out."""

    task: str
    episodes: tuple[int, int]
    frames: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found.

    Attributes:
        findings: the source's, then what the numbers themselves showed.
        shares: one per instruction that an episode begins with, by frames, most first.
        statistics: {"action", "state"} of the training episodes; without those of 0 dimensions.
        remarks: what normalising will do, one sentence each.
    """

    findings: tuple[Finding, ...]
    shares: tuple[TaskShare, ...]
    statistics: dict[str, Statistics]
    remarks: tuple[str, ...]

    def count(self, severity: str) -> int:
        """Kinds of findings of this severity."""
        return len({finding.kind for finding in self.findings if finding.severity == severity})


def examine(
    source: Source,
    *,
    cameras: Collection[str],
    decode: bool,
    validation_fraction: float,
    seed: int,
    max_episodes_per_task: int | None,
    modes: tuple[Mode, Mode],
) -> Examination:
    """Everything that can be said about a dataset, faulty episodes left out where they must be.

    Args:
        source: an opened dataset.
        cameras: whose videos are looked at.
        decode: whether every frame of these cameras is decoded.
        validation_fraction: as `seed` and `max_episodes_per_task` see `split_episodes`.
        modes: of the normalisers of actions and state, for the remarks.
    """
    findings = list(_found(source, cameras=cameras, decode=decode))
    size = len(source.action_names) + len(source.state_names)
    files = None if size else of_files(source, folder=None)
    readable, tasks, prints, kept = [], [], [], []
    hold = sum(episode.length for episode in source.episodes) * size <= KEPT
    for episode in tqdm(source.episodes, desc="numbers", unit="episode", disable=None):
        try:
            arrays = source.arrays(episode.index)
        except DataError as error:
            findings += _unless_known(findings, "unreadable numbers", f"episode {episode.index}", str(error))
            continue
        task = int(arrays.task_index[0])
        if not 0 <= task < len(source.tasks):
            continue  # a finding of the source's
        readable.append(episode)
        tasks.append(source.tasks[task])
        prints.append(fingerprint(arrays) if size else str(episode.index) if files is None else files[episode.index])
        if hold:
            kept.append(arrays)
    training, held = split_episodes(
        tasks,
        prints,
        validation_fraction=validation_fraction,
        seed=seed,
        max_episodes_per_task=max_episodes_per_task,
    )
    statistics = _statistics(
        source, [kept[k] if hold else readable[k].index for k in training], progress=bool(training)
    )
    if readable and not held and validation_fraction > 0:
        said = "no task has two episodes that differ, so none is held out and nothing can be validated"
        findings.append(Finding(severity="unusual", kind="nothing held out", where=str(source.root), said=said))
    names = {"action": source.action_names, "state": source.state_names}
    sentences = tuple(
        f"{name} ({mode}): {remark}"
        for (name, mode) in zip(("action", "state"), modes, strict=True)
        if name in statistics
        for remark in remarks(statistics[name], mode, names[name])
    )
    lengths = [episode.length for episode in readable]
    shares = _shares(tasks, lengths, training, held)
    return Examination(findings=tuple(findings), shares=shares, statistics=statistics, remarks=sentences)


def fingerprint(arrays: EpisodeArrays) -> str:
    """What `split_episodes` knows an episode by: a hash of its numbers, the same that training takes."""
    return hashlib.sha256(arrays.state.tobytes() + b"|" + arrays.actions.tobytes()).hexdigest()


def _found(source: Source, *, cameras: Collection[str], decode: bool) -> list[Finding]:
    """The source's findings; one that it could not turn into a finding itself ends the list as an error."""
    findings: list[Finding] = []
    try:
        findings.extend(source.findings(decode=decode, cameras=cameras))
    except DataError as error:
        findings += _unless_known(findings, "unreadable", str(source.root), str(error))
    return findings


def _unless_known(findings: Sequence[Finding], kind: str, where: str, said: str) -> list[Finding]:
    known = any(said in finding.said or finding.said in said for finding in findings)
    return [] if known else [Finding(severity="error", kind=kind, where=where, said=said)]


def _statistics(source: Source, episodes: Sequence[EpisodeArrays | int], *, progress: bool) -> dict[str, Statistics]:
    """Of real actions and states whose numbers are finite: the others are findings already."""
    running = {"action": Running(len(source.action_names)), "state": Running(len(source.state_names))}
    for one in tqdm(episodes, desc="statistics", unit="episode", disable=None if progress else True):
        arrays = source.arrays(one) if isinstance(one, int) else one
        for name, rows in (("action", arrays.actions[arrays.real]), ("state", arrays.state)):
            running[name].add(rows[np.isfinite(rows).all(axis=1)])
    return {name: one.statistics() for name, one in running.items() if one.dim and one.count}


def _shares(
    tasks: Sequence[str], lengths: Sequence[int], training: Sequence[int], held: Sequence[int]
) -> tuple[TaskShare, ...]:
    counts = {task: ([0, 0], [0, 0]) for task in tasks}
    for side, positions in enumerate((training, held)):
        for k in positions:
            counts[tasks[k]][0][side] += 1
            counts[tasks[k]][1][side] += lengths[k]
    shares = [TaskShare(task=t, episodes=(e[0], e[1]), frames=(f[0], f[1])) for t, (e, f) in counts.items()]
    return tuple(sorted(shares, key=lambda share: (-sum(share.frames), share.task)))
