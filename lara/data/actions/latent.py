"""Labels in place of actions (LAPA; LARA 003, section 5.5): a policy of latents, which acts nowhere by itself.

Row h of a chunk is the latent of the frames (t + h, t + h + gap), as `lara label` wrote it. Latents belong to a body of
their own, so such data needs an embodiment of its own; who is held out is decided by the recorded numbers, as ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lara.data.actions.placement import Placement
from lara.data.actions.representation import Codec, Representation
from lara.data.lam_inputs.label_columns import column
from lara.data.lam_inputs.labels import label_width, read_labels
from lara.data.robot import RobotCard
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Source
from lara.errors import ConfigError
from lara.specs import ActionSpec, ObservationSpec

LATENT_COLUMNS = ("z", "code", "index")


@dataclass(frozen=True, kw_only=True)
class LatentActions(Representation):
    """Of every frame, the latent of (t, t + gap).

    root: a sidecar, or a dataset labelled in place. column: "z", "code" or "index". prefix: of the columns.
    """

    buildable: ClassVar[str] = "data"

    root: Path | str
    column: str = "z"
    prefix: str = "latent"

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", str(self.root))
        if self.column not in LATENT_COLUMNS:
            raise ConfigError(f"a latent action is one of {', '.join(LATENT_COLUMNS)}, got {self.column!r}")

    def body(self, source: Source, robot: RobotCard) -> RobotCard:
        """A body whose actions are latents: no units, no limits but float32's. Raises DataError without such labels."""
        dim, most = label_width(Path(self.root), self.prefix, self.column), float(np.finfo(np.float32).max)
        return RobotCard(
            name="latent",
            action=ActionSpec(
                names=tuple(f"{column(self.prefix, self.column)}.{i}" for i in range(dim)),
                control="delta",
                rotation="none",
                gripper="none",
                low=(-most,) * dim,
                high=(most,) * dim,
                rate_hz=source.fps,
            ),
            observation=ObservationSpec(cameras=source.cameras, state=robot.observation.state),
        )

    def bind(self, robot: RobotCard) -> Codec:
        return _Labels(self, robot)


class _Labels(Codec):
    def __init__(self, labels: LatentActions, robot: RobotCard) -> None:
        super().__init__(Placement.in_order(robot.action.dim), Placement.in_order(len(robot.observation.state)))
        self._labels = labels

    def targets(self, source: Source, numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
        """See `Codec.targets`. Raises DataError for labels of another dataset."""
        labels = self._labels
        values, mask = read_labels(Path(labels.root), labels.prefix, source, (labels.column, "mask"))
        return values.reshape(len(values), -1).astype(np.float32), mask
