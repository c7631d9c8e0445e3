"""Training data of one robot, or of video alone: episodes of a source in, batches out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from lara.data.actions.chunks import ChunkNormalizer, fit, given_statistics, window
from lara.data.actions.in_order import InOrder
from lara.data.actions.normalize import Mode, Normalizer, Statistics
from lara.data.actions.representation import Representation
from lara.data.augment.augmentation import Augmentation
from lara.data.card import Cards, DataCard
from lara.data.frames.cache import folder_of, is_built, open_or_build
from lara.data.frames.caching import Caching
from lara.data.frames.read import FrameReader
from lara.data.frames.resize import Fit
from lara.data.lam_inputs.inputs import LamInput
from lara.data.loader import batches
from lara.data.notes import notes_on
from lara.data.order import indices_for_step, share_of_rank
from lara.data.pictures import Pictures
from lara.data.robot import RobotCard, derived_card, require_numbers_of
from lara.data.sources.auto import AnyFormat
from lara.data.sources.fingerprints import fingerprints
from lara.data.sources.hub import resolve_root
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Format, Source
from lara.data.sources.validate import validate
from lara.data.split import Split, split_episodes
from lara.errors import ConfigError, DataError, nearest
from lara.types import Batch, Observation


class Dataset:
    """Every time step t of every training episode is one sample: what the robot saw and was, and its next H actions.

    A sample is named by its frame number in the whole dataset (`Batch.index_B`), so `batch(index)` shows any frame,
    training or held out. The constructor reads metadata only; `prepare` does the work and is called when needed.

    Args:
        root: a folder, or `hub://user/name[@revision]`.
        format: how it is opened.
        robot: what no file says of the robot (see `data.robot`), or a whole card (a RobotCard or its dict).
        embodiment, slot: the robot's name, and which MLPs are its own.
        horizon: H; actions are a_t ... a_{t+H-1}, zero and masked beyond the episode's end.
        action_dim_max, state_dim_max: padded widths.
        actions: what is learned of them (see `actions.representation`).
        action_normalizer, state_normalizer: see `Normalizer`.
        statistics: {"action", "state"} of an earlier run, instead of this dataset's training episodes.
        cameras: the policy's views, in order; () gives V = 0, None all that there are. image_size: pixels.
            image_fit: what becomes of images that are not square (see `resize_area`).
        lam: frames or labels for a latent action model; None: none.
        cache: where decoded frames are kept; None decodes video for every batch.
        split: who is held out. augment: what is done to training pictures. seed: of split, order and augmentation.

    Raises:
        ConfigError: settings that do not fit together or the dataset.
        DataError: faults of the dataset.
    """

    buildable: ClassVar[str] = "data"

    def __init__(
        self,
        *,
        root: Path | str,
        embodiment: str,
        horizon: int,
        action_dim_max: int,
        state_dim_max: int,
        image_size: int,
        cameras: Sequence[str] | None = None,
        image_fit: Fit = "square",
        slot: int = 0,
        format: Format | None = None,
        robot: RobotCard | Mapping[str, Any] | None = None,
        actions: Representation | None = None,
        action_normalizer: Mode = "quantile",
        state_normalizer: Mode = "quantile",
        statistics: Mapping[str, Statistics | Mapping[str, Any]] | None = None,
        lam: LamInput | None = None,
        cache: Caching | None = None,
        split: Split | None = None,
        augment: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.source: Source = (AnyFormat() if format is None else format).open(resolve_root(root))
        self.lam = LamInput() if lam is None else lam
        self.cameras = tuple(self.source.cameras if cameras is None else cameras)
        self.lam_cameras = self.lam.views(policy=self.cameras, source=self.source.cameras)
        self.image_size, self.image_fit = image_size, image_fit
        self.lam_image_size = image_size if self.lam.image_size is None else self.lam.image_size
        self.horizon, self.embodiment, self.slot, self.seed = horizon, embodiment, slot, seed
        self.action_dim_max, self.state_dim_max = action_dim_max, state_dim_max
        self.actions: Representation = InOrder() if actions is None else actions
        recorded, self.assumed = derived_card(self.source, robot)
        self.robot = self.actions.body(self.source, recorded)
        self.codec = self.actions.bind(self.robot)
        require_numbers_of(self.source, recorded)
        self._modes: tuple[Mode, Mode] = (action_normalizer, state_normalizer)
        self._given = statistics
        self._cache, self._split = cache, Split() if split is None else split
        self._augment = Augmentation() if augment is None else augment
        self._require_sense()
        self._stride = self.lam.stride(self.source.fps) if self.lam_cameras else 1
        self._read = self._ready = False

    def _require_sense(self) -> None:
        if min(self.horizon, self.image_size) < 1 or self.slot < 0:
            raise ConfigError(
                f"expected a positive horizon and image_size and slot >= 0, got {self.horizon}, {self.image_size}, "
                f"{self.slot}"
            )
        if self._augment.random_shift and self.lam.latents is not None:
            raise ConfigError(
                f"data.augment.random_shift={self._augment.random_shift} moves the frames that the labels of "
                "data.lam.latents were read from, and the labels know nothing of it; set data.augment.random_shift=0, "
                "or let the LAM read frames (data.lam.latents=null, data.lam.frames, data.lam.cameras)"
            )
        for camera in (*self.cameras, *self.lam_cameras):
            if camera not in self.source.cameras:
                raise ConfigError(f"{self.source.root}: no camera '{camera}'. {nearest(camera, self.source.cameras)}")
        for name, place, most in (
            ("action", self.codec.action, self.action_dim_max),
            ("state", self.codec.state, self.state_dim_max),
        ):
            if place.width > most:
                raise ConfigError(
                    f"{self.source.root}: {name}s reach to place {place.width}, and {name}_dim_max is {most}; set "
                    f"{name}_dim={place.width} or more on the command line"
                )

    def inherit(self, cards: Cards) -> None:
        """Goes on with the statistics of an earlier run that knew this embodiment: its MLPs learned in these units.

        Raises ConfigError where that run represented the actions differently.
        """
        card = cards.get(self.embodiment)
        if card is None:
            return
        if card.actions != self.actions:
            raise ConfigError(
                f"the earlier run knows the robot '{card.embodiment}' with actions as {card.actions}, this run gives "
                f"data.actions={self.actions}; its statistics are of other numbers, so give both runs one "
                "representation, or inherit=null"
            )
        self._given = card.statistics

    def prepare(self) -> None:
        """Validate the dataset, read its numbers, split, compute statistics, build or open the frame caches.

        Once per object; any number of processes may do it at the same time.
        """
        if self._ready:
            return
        self.read()
        self.finish(self._given or fit([self.targets()], horizon=self.horizon, pairing=self.codec.pairing))

    def read(self) -> None:
        """The first half of `prepare`: validate, read the numbers, split, convert to what is learned."""
        if self._read:
            return
        cached, folder = self._cache is not None, self._cache_folder
        ready = {w for w in self._wanted if cached and is_built(self.source, *w, fit=self.image_fit, folder=folder)}
        undecoded = sorted({camera for camera, _ in self._wanted - ready})
        self.unusual = validate(self.source, decode=False, cameras=undecoded)
        numbers = Numbers.of(self.source)
        self.training_episodes, self.validation_episodes = split_episodes(
            [self.source.tasks[task] for task in numbers.task[numbers.begins].tolist()],
            fingerprints(self.source, numbers, folder=folder_of(self.source, folder) if cached else None),
            seed=self.seed,
            validation_fraction=self._split.validation_fraction,
            max_episodes_per_task=self._split.max_episodes_per_task,
        )
        self.training_samples = numbers.frames_of(self.training_episodes)
        self.validation_samples = numbers.frames_of(self.validation_episodes)
        self._codes_NT = None if self.lam.codes is None else self.lam.codes.read(self.source)
        self._latents = None if self.lam.latents is None else self.lam.latents.read(self.source)
        # converted after the split, which knows an episode by its own numbers
        actions, real = self.codec.targets(self.source, numbers)
        numbers = replace(numbers, actions=actions, real=real, states=self.codec.state.convert(numbers.states))
        self._numbers = numbers
        self._read = True

    def targets(self) -> tuple[Numbers, np.ndarray]:
        """What statistics are taken of, after `read`: all numbers, converted, and the training side's frames."""
        return self._numbers, self.training_samples

    def finish(self, statistics: Mapping[str, Statistics | Mapping[str, Any]]) -> None:
        """The second half of `prepare`: normalise by these statistics, build or open the frame caches."""
        codec = self.codec
        steps = 1 if codec.pairing is None else self.horizon
        self.statistics = given_statistics(statistics, action=steps * codec.action.count, state=codec.state.count)
        self._normalize_action = ChunkNormalizer(
            self.statistics["action"], self._modes[0], kept=codec.action.kept, pairing=codec.pairing
        )
        self._normalize_state = Normalizer(self.statistics["state"], self._modes[1], kept=codec.state.kept)
        caches = {}
        if self._cache is not None:
            for camera, size in sorted(self._wanted):
                caches[camera, size] = open_or_build(
                    self.source,
                    camera,
                    size,
                    fit=self.image_fit,
                    folder=self._cache_folder,
                    workers=self._cache.workers,
                )
        self._pictures = Pictures(
            reader=FrameReader(self.source, self._numbers, caches, fit=self.image_fit),
            cameras=self.cameras,
            image_size=self.image_size,
            lam_cameras=self.lam_cameras,
            lam_image_size=self.lam_image_size,
        )
        self._ready = True

    @property
    def _wanted(self) -> set[tuple[str, int]]:
        """The camera and size of all pictures that are shown."""
        return {(c, self.image_size) for c in self.cameras} | {(c, self.lam_image_size) for c in self.lam_cameras}

    @property
    def _cache_folder(self) -> Path | None:
        return None if self._cache is None or self._cache.folder is None else Path(self._cache.folder)

    @property
    def inherited(self) -> Mapping[str, Statistics | Mapping[str, Any]] | None:
        """Statistics of an earlier run, instead of this data's own."""
        return self._given

    @property
    def normalizers(self) -> tuple[Mode, Mode]:
        """Of actions and of states."""
        return self._modes

    @property
    def frame_count(self) -> int:
        """Frames of all episodes."""
        return sum(row.length for row in self.source.episodes)

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.source.root)

    @property
    def frame_gap(self) -> int:
        """Frames between the two of a LAM's pair, where it sees pairs."""
        return self._stride * (self.horizon if self.lam.gap is None else self.lam.gap)

    @property
    def action_dim(self) -> int:
        """A: numbers of the robot's actions; 0 for video alone."""
        return self.robot.action.dim

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

    def notes(self) -> list[str]:
        """What a person should know before training: what is assumed, unusual, or will be cut by normalising."""
        self.prepare()
        return list(
            notes_on(
                robot=self.robot,
                assumed=self.assumed,
                unusual=self.unusual,
                statistics=self.statistics,
                modes=self._modes,
            )
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
            views=len(self.cameras),
            image_size=self.image_size,
            image_fit=self.image_fit,
            lam_cameras=self.lam_cameras,
            lam_image_size=self.lam_image_size,
            action_dim_max=self.action_dim_max,
            state_dim_max=self.state_dim_max,
            embodiment=self.embodiment,
            slot=self.slot,
            instructions=tuple(sorted(self.source.tasks)),
            actions=self.actions,
        )

    def cards(self) -> Cards:
        """The one card, by its embodiment."""
        return Cards([self.card()])

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
        mine = share_of_rank(batch_size, rank=rank, world=world)
        places = indices_for_step(step=step, batch_size=batch_size, n=len(self.training_samples), seed=self.seed)
        return self.augmented(self.training_samples[places[mine]], step=step)

    def augmented(self, index: np.ndarray, *, step: int) -> Batch:
        """The samples at these frame numbers as training batch `step` shows them."""
        return self._batch(index, self._augment, step=step)

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
            yield self._batch(order[begin : begin + batch_size], Augmentation())

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> Batch:
        """The samples at these frame numbers of the dataset (as in `Batch.index_B`), without augmentation."""
        self.prepare()
        return self._batch(np.asarray(indices, np.int64), Augmentation())

    def _batch(self, index: np.ndarray, augment: Augmentation, *, step: int = 0) -> Batch:
        numbers, codec = self._numbers, self.codec
        if index.ndim != 1 or (len(index) and not (index.min() >= 0 and index.max() < len(numbers.episode))):
            raise DataError(f"{self.source.root}: frames are numbered 0..{len(numbers.episode) - 1}, got {index}")
        inside, real = window(numbers, index, self.horizon, numbers.real)
        chunk = self._normalize_action.normalize(numbers.actions[inside], numbers.states[index])
        actions = codec.action.spread(np.where(real[..., None], chunk, np.float32(0)), self.action_dim_max)
        dims = codec.action.dims(self.action_dim_max)
        state = codec.state.spread(self._normalize_state.normalize(numbers.states[index]), self.state_dim_max)
        images, frames, frame_mask = self._pictures.read(
            index,
            offsets=self._stride * self.lam.sampling(self.horizon).offsets(index, seed=self.seed, step=step),
            end=numbers.ends[numbers.episode[index]],
            shifts=augment.shifts(index, seed=self.seed, step=step),
        )
        observation = Observation(
            images_BVCHW=augment.jitter(images, index, seed=self.seed, step=step),
            state_BS=torch.from_numpy(state),
            instruction=tuple(self.source.tasks[task] for task in numbers.task[index]),
            embodiment_B=torch.full((len(index),), self.slot, dtype=torch.int64),
            action_dims_BA=torch.from_numpy(np.tile(dims, (len(index), 1))),
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
        if self._latents is None or self.lam.latents is None:
            return {}
        z, real_N = self._latents
        inside, real = window(self._numbers, index, self.lam.latents.steps, real_N)
        latents = np.where(real[..., None, None], z[inside], np.float32(0))
        return {"latents_BTVD": torch.from_numpy(latents), "latent_mask_BT": torch.from_numpy(real)}
