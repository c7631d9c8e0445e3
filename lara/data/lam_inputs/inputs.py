"""What a latent action model, or a policy that learns from its labels, is given beside the policy's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lara.data.lam_inputs.labels import LatentCodes, LatentSteps
from lara.data.lam_inputs.sampling import FrameSampling, Pair
from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LamInput:
    """Frames of some cameras, or what `lara label` made of them.

    Attributes:
        cameras: whose frames; () gives none (F = 0), None the policy's, or all where it has
            none.
        image_size: pixels; None: the policy's.
        frames: which frames are seen together; None: the pair (t, t + gap).
        gap: of that pair, in strides; None: the action horizon.
        stride_seconds: how long one step of `frames` and `gap` is. None: one recorded frame. With it, a mixture of
            sources of 3 Hz and of 30 Hz shows movements of one duration; it is rounded to whole frames of each source.
        latents: labels as what is generated beside the actions.
        codes: labels as tokens to predict.
    """

    buildable: ClassVar[str] = "data"

    cameras: Sequence[str] | None = ()
    image_size: int | None = None
    frames: FrameSampling | None = None
    gap: int | None = None
    stride_seconds: float | None = None
    latents: LatentSteps | None = None
    codes: LatentCodes | None = None

    def __post_init__(self) -> None:
        if self.cameras is not None:
            object.__setattr__(self, "cameras", tuple(self.cameras))
        if self.image_size is not None and self.image_size < 1:
            raise ConfigError(f"data.lam.image_size is a number of pixels, got {self.image_size}")
        if self.gap is not None and self.gap < 1:
            raise ConfigError(f"data.lam.gap is at least one frame, got {self.gap}")
        if self.stride_seconds is not None and not self.stride_seconds > 0:
            raise ConfigError(f"data.lam.stride_seconds is a positive number of seconds, got {self.stride_seconds}")

    def views(self, *, policy: tuple[str, ...], source: tuple[str, ...]) -> tuple[str, ...]:
        """The cameras meant, given the policy's and all that the source has."""
        return (policy or source) if self.cameras is None else tuple(self.cameras)

    def stride(self, fps: float) -> int:
        """Frames of a source with this rate in one step of `frames`.

        Raises ConfigError where a stride would be no whole frame to within a quarter of itself: an action of 1/30 s
        cannot be seen at 3 Hz.
        """
        if self.stride_seconds is None:
            return 1
        frames = self.stride_seconds * fps
        stride = round(frames)
        if stride < 1 or abs(frames - stride) > 0.25 * frames:
            raise ConfigError(
                f"data.lam.stride_seconds={self.stride_seconds:g} is {frames:.2f} frames at {fps:g} Hz, which no whole "
                f"number is near to; choose a multiple of {1 / fps:.4f} s"
            )
        return stride

    def sampling(self, horizon: int) -> FrameSampling:
        """Which frames are seen together, in strides."""
        return Pair(gap=horizon if self.gap is None else self.gap) if self.frames is None else self.frames
