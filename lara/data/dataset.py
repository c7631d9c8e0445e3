"""Training data of one robot, or of video alone: a LeRobotDataset or a folder of videos in, batches out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from lara.data.actions.chunks import ChunkNormalizer, fit, given_statistics, window
from lara.data.actions.eef_pose import AbsolutePose
from lara.data.actions.normalize import Mode, Normalizer, Statistics
from lara.data.actions.placement import Layout, placements
from lara.data.actions.relative import RelativeActions
from lara.data.augment.color_jitter import ColorJitter
from lara.data.augment.shifts import random_shifts, shift
from lara.data.card import DataCard
from lara.data.frames.cache import folder_of, is_built, open_or_build
from lara.data.frames.read import FrameReader
from lara.data.frames.resize import Fit
from lara.data.lam_inputs.labels import LatentActions, LatentCodes, LatentSteps
from lara.data.lam_inputs.sampling import FrameSampling, Pair
from lara.data.loader import batches
from lara.data.order import indices_for_step
from lara.data.robot import RobotCard, body_of, require_width
from lara.data.sources.fingerprints import fingerprints
from lara.data.sources.lerobot.source import LeRobotSource
from lara.data.sources.numbers import Numbers
from lara.data.sources.validate import validate
from lara.data.sources.videos import open_source
from lara.data.split import split_episodes
from lara.errors import ConfigError, DataError, nearest
from lara.types import Batch, Observation


class EpisodeData:
    """Every time step t of every training episode is one sample: what the robot saw and was, and its next H actions.

    A sample is named by its frame number in the whole dataset (`Batch.index_B`), so `batch(index)` shows any frame,
    training or held out. The constructor reads metadata only; `prepare` does the work and is called when needed.

    root:            a LeRobotDataset v3.0, or a folder of videos (see sources.videos): no action is real, A = S = 0.
    horizon:         H; actions are a_t ... a_{t+H-1}, zero and masked beyond the episode's end.
    frame_gap:       the latent action model's future frame is t + frame_gap; H when not given.
    frames:          which frames it sees together, instead of that pair (see data.lam_inputs.sampling).
    cameras, lam_cameras: views of the policy and of the latent action model, in order; [] gives V = 0 or F = 0.
    image_size, lam_image_size: pixels; lam_image_size is image_size when not given. image_fit: see `resize_area`.
    action_dim_max, state_dim_max: padded widths. embodiment, slot: the robot's name and MLP slot.
    validation_fraction, max_episodes_per_task: see `split_episodes`. seed: of split, order and augmentation.
    action_normalizer, state_normalizer: see `Normalizer`. statistics: {"action", "state"} of an earlier run (objects or
                     their dicts), instead of this dataset's training episodes.
    cache:           read frames from a `FrameCache` (built by `prepare` in cache_folder with cache_workers processes);
                     False decodes video for every batch.
    random_shift:    pixels at image_size; 0 switches the augmentation off. Training batches only.
    color_jitter:    of the policy's images in training batches (see data.color_jitter); None: off.
    robot:           what no file says of the robot: name, control, rotation, gripper, each or none; or a whole card
                     (see data.robot). `assumed` has a line for each value that the files do not state.
    labels:          latents instead of the dataset's actions (LAPA): a body of its own, so it needs an embodiment of
                     its own. Who is held out does not change. codes: tokens beside the actions (`Batch.codes_BT`).
    latents:         labels beside the actions (`Batch.latents_BTVD`); they know no augmentation.
    layout:          where the robot's numbers stand in the padded vectors (see data.layout), or how its actions are
                     poses (see actions.eef_pose); None: in order, at the front. Statistics are of converted numbers.
    relative:        actions learned as distances from the state they start at (see data.relative), with statistics of
                     each step's own; None: all absolute. Neither with layout nor with labels.

    Raises ConfigError for settings that do not fit together or the dataset, DataError for faults of the dataset.
    """

    buildable: ClassVar[str] = "data"

    def __init__(
        self,
        *,
        root: Path | str,
        horizon: int,
        cameras: Sequence[str],
        lam_cameras: Sequence[str] = (),
        image_size: int,
        lam_image_size: int | None = None,
        image_fit: Fit = "square",
        frame_gap: int | None = None,
        frames: FrameSampling | None = None,
        action_dim_max: int,
        state_dim_max: int,
        embodiment: str,
        slot: int = 0,
        validation_fraction: float = 0.05,
        max_episodes_per_task: int | None = None,
        seed: int = 0,
        action_normalizer: Mode = "quantile",
        state_normalizer: Mode = "quantile",
        statistics: Mapping[str, Statistics | Mapping[str, Any]] | None = None,
        cache: bool = True,
        cache_folder: Path | str | None = None,
        cache_workers: int = 2,
        random_shift: int = 0,
        color_jitter: ColorJitter | None = None,
        robot: RobotCard | Mapping[str, Any] | None = None,
        labels: LatentActions | None = None,
        codes: LatentCodes | None = None,
        latents: LatentSteps | None = None,
        layout: Layout | None = None,
        relative: RelativeActions | None = None,
    ) -> None:
        self.source: LeRobotSource = open_source(root)
        self.horizon, self.frame_gap = horizon, horizon if frame_gap is None else frame_gap
        self.cameras, self.lam_cameras = tuple(cameras), tuple(lam_cameras)
        self.image_size = image_size
        self.lam_image_size = image_size if lam_image_size is None else lam_image_size
        self.image_fit: Fit = image_fit
        self.action_dim_max, self.state_dim_max = action_dim_max, state_dim_max
        self.embodiment, self.slot, self.seed = embodiment, slot, seed
        self.random_shift, self.color_jitter = random_shift, color_jitter
        self._split = {"validation_fraction": validation_fraction, "max_episodes_per_task": max_episodes_per_task}
        self._modes: tuple[Mode, Mode] = (action_normalizer, state_normalizer)
        self._given = statistics
        self._cache = (cache, None if cache_folder is None else Path(cache_folder), cache_workers)
        self._labels, self._codes_of, self._latents_of = labels, codes, latents
        self.robot, self.assumed = body_of(self.source, robot=robot, labels=labels)
        self._action_dim = self.source.action_dim if labels is None else labels.dim()
        if relative is not None and (layout is not None or labels is not None):
            raise ConfigError(
                "data.relative takes positions off absolute targets; data.layout holds changes or whole poses, and "
                "data.labels latents, from which none can be taken: set data.relative=null, or leave the other out"
            )
        self.layout = layout
        self._place_action, self._place_state = placements(self.robot, layout)
        self.relative = relative
        self._pairing = None if relative is None else relative.pairing(self.robot)
        self._require_sense()
        self.frames: FrameSampling = Pair(gap=self.frame_gap) if frames is None else frames
        self._ready = False

    def _require_sense(self) -> None:
        sizes = {"horizon": self.horizon, "frame_gap": self.frame_gap, "image_size": self.image_size}
        sizes["lam_image_size"] = self.lam_image_size
        wrong = [f"{name}={value}" for name, value in sizes.items() if value < 1]
        if wrong or self.random_shift < 0 or self.slot < 0:
            raise ConfigError(
                f"{wrong or ''} random_shift={self.random_shift}, slot={self.slot}: expected positive sizes"
            )
        if self.random_shift and self._latents_of is not None:
            raise ConfigError(
                f"data.random_shift={self.random_shift} moves the frames that the labels of data.latents were read "
                "from, and the labels know nothing of it; set data.random_shift=0, or let the LAM read frames "
                "(data.latents=null, data.frames, data.lam_cameras)"
            )
        for camera in (*self.cameras, *self.lam_cameras):
            if camera not in self.source.cameras:
                raise ConfigError(f"{self.source.root}: no camera '{camera}'. {nearest(camera, self.source.cameras)}")
        action, state = self._place_action, self._place_state
        dims = {"action": self.robot.action.dim, "state": len(self.robot.observation.state)}
        for name, real, place, most in (
            ("action", self._action_dim, action, self.action_dim_max),
            ("state", self.source.state_dim, state, self.state_dim_max),
        ):
            require_width(self.source, name, real=real, card=dims[name], place=place, most=most)

    def prepare(self) -> None:
        """Validate the dataset, read its numbers, split, compute statistics, build or open the frame caches.

        Once per object; any number of processes may do it at the same time.
        """
        if self._ready:
            return
        wanted = {(c, self.image_size) for c in self.cameras} | {(c, self.lam_image_size) for c in self.lam_cameras}
        cached, folder, workers = self._cache
        ready = {w for w in wanted if cached and is_built(self.source, *w, fit=self.image_fit, folder=folder)}
        validate(self.source, decode=False, cameras=sorted({camera for camera, _ in wanted - ready}))
        numbers = Numbers.of(self.source)
        count = len(self.source)
        self.training_episodes, self.validation_episodes = split_episodes(
            [self.source.tasks[numbers.task[numbers.begins[k]]] for k in range(count)],
            fingerprints(self.source, numbers, folder=folder_of(self.source, folder) if cached else None),
            seed=self.seed,
            **self._split,  # type: ignore[arg-type]
        )
        self._real_N = np.ones(len(numbers.episode), bool)
        if self._labels is not None:
            actions, self._real_N = self._labels.read(self.source)
            numbers = replace(numbers, actions=actions)
        self._codes_NT = None if self._codes_of is None else self._codes_of.read(self.source)
        self._latents = None if self._latents_of is None else self._latents_of.read(self.source)
        self._numbers = numbers
        self.training_samples = numbers.frames_of(self.training_episodes)
        self.validation_samples = numbers.frames_of(self.validation_episodes)
        # converted after the split, which knows an episode by its own numbers
        if isinstance(self.layout, AbsolutePose):
            pose = self.layout.bind(self.robot)
            actions, self._real_N = pose.targets(numbers.actions, numbers.states, last=numbers.ends - 1)
            numbers = replace(numbers, actions=actions)
        actions, states = self._place_action.convert(numbers.actions), self._place_state.convert(numbers.states)
        self._numbers = numbers = replace(numbers, actions=actions, states=states)
        self.statistics = self._statistics(numbers)
        self._normalize_action = ChunkNormalizer(
            self.statistics["action"], self._modes[0], kept=self._place_action.kept, pairing=self._pairing
        )
        self._normalize_state = Normalizer(self.statistics["state"], self._modes[1], kept=self._place_state.kept)
        caches = {
            (camera, size): open_or_build(self.source, camera, size, fit=self.image_fit, folder=folder, workers=workers)
            for camera, size in (sorted(wanted) if cached else ())
        }
        self._frames = FrameReader(self.source, numbers, caches, fit=self.image_fit)
        self._ready = True

    def _statistics(self, numbers: Numbers) -> dict[str, Statistics]:
        if self._given is None:
            seen = self.training_samples
            return fit(numbers, seen, horizon=self.horizon, real_N=self._real_N, pairing=self._pairing)
        steps = 1 if self._pairing is None else self.horizon
        return given_statistics(self._given, action=steps * self._place_action.count, state=self._place_state.count)

    def __len__(self) -> int:
        """Training samples."""
        self.prepare()
        return len(self.training_samples)

    def summary(self) -> str:
        """One line for the log: where, how much, of whom."""
        self.prepare()
        training, held_out = len(self.training_episodes), len(self.validation_episodes)
        return (
            f"{self.source.root}: {training + held_out:,} episodes of {self.embodiment} ({held_out:,} held out), "
            f"{len(self.training_samples):,} training frames, {len(self.source.tasks):,} instructions"
        )

    def card(self) -> DataCard:
        """What serving needs to rebuild these transforms."""
        self.prepare()
        return DataCard(
            robot=self.robot,
            statistics=self.statistics,
            action_normalizer=self._modes[0],
            state_normalizer=self._modes[1],
            horizon=self.horizon,
            frame_gap=self.frame_gap,
            fps=self.source.fps,
            cameras=self.cameras,
            image_size=self.image_size,
            image_fit=self.image_fit,
            lam_cameras=self.lam_cameras,
            lam_image_size=self.lam_image_size,
            action_dim_max=self.action_dim_max,
            state_dim_max=self.state_dim_max,
            embodiment=self.embodiment,
            slot=self.slot,
            instructions=tuple(sorted(self.source.tasks)),
            layout=self.layout,
            relative=self.relative,
        )

    def loader(
        self, *, start_step: int, batch_size: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> Iterator[Batch]:
        """Endless; item k is `train_batch(start_step + k, ...)`, made by `workers` processes."""
        self.prepare()
        make = partial(self.train_batch, batch_size=batch_size, rank=rank, world=world)
        return batches(make, start_step=start_step, workers=workers)

    def train_batch(self, step: int, batch_size: int, rank: int = 0, world: int = 1) -> Batch:
        """Batch `step` of `batch_size` samples over all ranks: rank r of `world` gets its slice of them."""
        self.prepare()
        if world < 1 or not 0 <= rank < world or batch_size % world:
            raise ConfigError(
                f"batch_size={batch_size} counts the samples of all ranks and must divide by world={world} "
                f"(rank={rank} must be below it)"
            )
        places = indices_for_step(step=step, batch_size=batch_size, n=len(self.training_samples), seed=self.seed)
        mine = batch_size // world
        index = self.training_samples[places[rank * mine : (rank + 1) * mine]]
        shifts = None
        if self.random_shift:
            shifts = random_shifts(seed=self.seed, step=step, index=index, pixels=self.random_shift)
        return self._batch(index, shifts, self.color_jitter, step=step)

    def validation_batches(self, *, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """The same held-out samples in the same shuffled order at every call, at most `limit` batches, not augmented.

        The last batch may be smaller. Nothing when no episode is held out.
        """
        self.prepare()
        n = len(self.validation_samples)
        if n == 0:
            return
        order = self.validation_samples[indices_for_step(step=0, batch_size=n, n=n, seed=self.seed)]
        for number, begin in enumerate(range(0, n, batch_size)):
            if limit is not None and number >= limit:
                return
            yield self._batch(order[begin : begin + batch_size])

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> Batch:
        """The samples at these frame numbers of the dataset (as in `Batch.index_B`), without augmentation."""
        self.prepare()
        return self._batch(np.asarray(indices, np.int64))

    def _batch(
        self, index: np.ndarray, shifts: np.ndarray | None = None, jitter: ColorJitter | None = None, *, step: int = 0
    ) -> Batch:
        numbers = self._numbers
        if index.ndim != 1 or (len(index) and not (index.min() >= 0 and index.max() < len(numbers.episode))):
            raise DataError(f"{self.source.root}: frames are numbered 0..{len(numbers.episode) - 1}, got {index}")
        count = len(index)
        end = numbers.ends[numbers.episode[index]]
        inside, real = window(numbers, index, self.horizon, self._real_N)
        chunk = self._normalize_action.normalize(numbers.actions[inside], numbers.states[index])
        actions = self._place_action.spread(np.where(real[..., None], chunk, np.float32(0)), self.action_dim_max)
        dims = self._place_action.dims(self.action_dim_max)
        state = self._place_state.spread(self._normalize_state.normalize(numbers.states[index]), self.state_dim_max)
        images, frames, frame_mask = self._pictures(index, end, shifts, step)
        if jitter is not None and images.numel():  # on a copy: images may be a view of the frames
            pixels = jitter(images.permute(0, 1, 3, 4, 2).numpy(), seed=self.seed, step=step, index=index)
            images = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 2)))
        observation = Observation(
            images_BVCHW=images,
            state_BS=torch.from_numpy(state),
            instruction=tuple(self.source.tasks[task] for task in numbers.task[index]),
            embodiment_B=torch.full((count,), self.slot, dtype=torch.int64),
            action_dims_BA=torch.from_numpy(np.tile(dims, (count, 1))),
        )
        return Batch(
            observation=observation,
            actions_BHA=torch.from_numpy(actions),
            action_mask_BHA=torch.from_numpy(real[..., None] & dims),
            frames_BFVCHW=frames,
            frame_mask_BF=torch.from_numpy(frame_mask),
            index_B=torch.from_numpy(index.copy()),
            codes_BT=None if self._codes_NT is None else torch.from_numpy(self._codes_NT[index]),
            **self._labelled(index),
        )

    def _labelled(self, index: np.ndarray) -> dict[str, torch.Tensor]:
        """`Batch.latents_BTVD` and its mask, where asked for."""
        if self._latents is None or self._latents_of is None:
            return {}
        z, real_N = self._latents
        inside, real = window(self._numbers, index, self._latents_of.steps, real_N)
        latents = np.where(real[..., None, None], z[inside], np.float32(0))
        return {"latents_BTVD": torch.from_numpy(latents), "latent_mask_BT": torch.from_numpy(real)}

    def _pictures(
        self, index: np.ndarray, end: np.ndarray, shifts: np.ndarray | None, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """Images (B, V, C, h, w), frames (B, F, V2, C, h2, w2), their mask (B, F). Read once if both are the same."""
        asked = bool(self.lam_cameras)
        when = (index[:, None] + self.frames.offsets(index, seed=self.seed, step=step))[:, : self.frames.count * asked]
        mask = when < end[:, None]
        frames = self._tensor(np.where(mask, when, index[:, None]), self.lam_cameras, self.lam_image_size, shifts)
        frames[torch.from_numpy(~mask)] = 0
        if asked and self.cameras == self.lam_cameras and self.image_size == self.lam_image_size:
            return frames[:, 0], frames, mask
        return self._tensor(index[:, None], self.cameras, self.image_size, shifts)[:, 0], frames, mask

    def _tensor(self, when: np.ndarray, cameras: Sequence[str], size: int, shifts: np.ndarray | None) -> torch.Tensor:
        """(B, F) frame numbers -> (B, F, V, C, size, size) uint8."""
        images = self._frames.read(when, cameras, size)
        if shifts is not None and images.size:
            images = shift(images, np.rint(shifts * (size / self.image_size)).astype(np.int64))
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 3)))
