"""What a person should know about data before it is trained on, as lines for the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lara.data.actions.normalize import Mode, Statistics
from lara.data.actions.remarks import remarks
from lara.data.robot import RobotCard
from lara.data.sources.source import Finding

_MOST = 8  # remarks per vector; of more, their number is said


def notes_on(
    *,
    robot: RobotCard,
    assumed: Sequence[str],
    unusual: Sequence[Finding],
    statistics: Mapping[str, Statistics],
    modes: tuple[Mode, Mode],
) -> Iterator[str]:
    """What is assumed of the robot, what is unusual about the dataset, and what normalising will do.

    Args:
        robot: whose actions are learned; its names are used where each is one number that is learned.
        assumed: see `data.robot.derived_card`.
        unusual: findings that refuse nothing.
        statistics: {"action", "state"}, of the converted numbers.
        modes: of the normalisers of actions and states.
    """
    yield from assumed
    for kind in dict.fromkeys(finding.kind for finding in unusual):
        same = [finding for finding in unusual if finding.kind == kind]
        count = sum(finding.count for finding in same)
        yield f"{kind} ({count:,}): {same[0].said}"
    for what, names, mode in (
        ("action", robot.action.names, modes[0]),
        ("state", robot.observation.state, modes[1]),
    ):
        dim = statistics[what].dim
        said = remarks(statistics[what], mode, names if len(names) == dim else [f"number {d}" for d in range(dim)])
        yield from (f"{what}: {line}" for line in said[:_MOST])
        if len(said) > _MOST:
            yield f"{what}: and {len(said) - _MOST} more numbers; `lara check` says all"
