"""Several datasets as one: robots with different numbers, rates and cameras, and plain video, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from lara.data.actions.chunks import fit
from lara.data.card import Cards
from lara.data.dataset import Dataset
from lara.data.join import joined, with_views
from lara.data.loader import batches
from lara.data.mixture_order import BLOCK, draws_of_step, shares
from lara.data.order import indices_for_step, indices_of_draws, share_of_rank
from lara.errors import ConfigError, DataError, LaraError
from lara.types import Batch


class Mixture:
    """Named sources with weights. A sample comes from source s with probability weight_s / sum of weights.

    Every source keeps its own key map, representation of actions, statistics and slot; statistics are per embodiment,
    so sources of one robot share theirs. Each loss term has its own mask, so video without actions feeds the LAM's
    terms and nothing else. A source with fewer cameras than the widest is shown black pictures in the places that it
    lacks; the LAM's views, of which each is a frame pair of its own, must be equally many everywhere.

    Samples are numbered through: those of the first source, then those of the second (`Batch.index_B`).

    Args:
        sources: name -> a dataset's constructor (`_partial_: true` in a configuration), so that all that cannot be
            opened are named at once.
        weights: "equal" (LARA 003), or one positive number per source.
        alpha: weights size^alpha instead, of the training samples of each source: 0 is equal, 1 all samples alike.
        root: the folder that the sources lie in, for messages; None: they have none in common.
        seed: of the order of sources; each source draws in the order of its own seed.

    Raises:
        ConfigError: sources that cannot stand in one batch.
        DataError: sources that cannot be opened.
    """

    buildable: ClassVar[str] = "data"

    def __init__(
        self,
        *,
        sources: Mapping[str, Callable[[], Dataset]],
        root: Path | str | None = None,
        weights: Literal["equal"] | Mapping[str, float] = "equal",
        alpha: float | None = None,
        seed: int = 0,
    ) -> None:
        if not sources:
            raise ConfigError("a mixture needs at least one source: data.sources.<name>")
        self.sources = _opened(sources)
        self._names, self.root = tuple(self.sources), root
        self._weights, self._alpha, self.seed = weights, alpha, seed
        if weights != "equal" and (alpha is not None or set(weights) != set(self._names)):
            raise ConfigError(
                f"data.weights is 'equal' or one number for each of {', '.join(self._names)}, and data.alpha null; got "
                f"{weights} and {alpha}"
            )
        _require_one_batch(self.sources)
        self._ready = False

    @property
    def _parts(self) -> list[Dataset]:
        return list(self.sources.values())

    @property
    def _views(self) -> int:
        """Pictures per sample: as many as the source with the most cameras has."""
        return max(len(part.cameras) for part in self._parts)

    @property
    def name(self) -> str:
        """For messages."""
        listed = ", ".join(self._names)
        return f"the mixture of {listed}" + ("" if self.root is None else f" in {self.root}")

    @property
    def action_dim(self) -> int:
        """The most action numbers of any robot; 0 for video alone."""
        return max(part.action_dim for part in self._parts)

    @property
    def cameras(self) -> tuple[str, ...]:
        """The policy's views, as the first source that has the most of them calls them."""
        return max((part.cameras for part in self._parts), key=len)

    @property
    def lam_cameras(self) -> tuple[str, ...]:
        """The LAM's views, equally many everywhere, as the first source calls them."""
        return self._parts[0].lam_cameras

    def inherit(self, cards: Cards) -> None:
        """See `Dataset.inherit`; every robot that the earlier run knew keeps its statistics."""
        for part in self._parts:
            part.inherit(cards)

    def prepare(self) -> None:
        """See `Dataset.prepare`; statistics are taken over all sources of one robot."""
        if self._ready:
            return
        for part in self._parts:
            part.read()
        for group in _by_embodiment(self.sources).values():
            first = group[0]
            statistics = first.inherited or fit(
                [part.targets() for part in group], horizon=first.horizon, pairing=first.codec.pairing
            )
            for part in group:
                part.finish(statistics)
        sizes = np.array([len(part.training_samples) for part in self._parts], np.int64)
        empty = [name for name, size in zip(self._names, sizes, strict=True) if not size]
        if empty:
            raise DataError(f"the sources {', '.join(empty)} have no training episode; leave them out")
        if isinstance(self._weights, str):
            wanted = (sizes.astype(np.float64) ** (self._alpha or 0.0)).tolist()
        else:
            wanted = [float(self._weights[name]) for name in self._names]
        self.counts = shares(wanted)
        self._begins = np.concatenate([[0], np.cumsum([part.frame_count for part in self._parts])])
        self._ready = True

    def __len__(self) -> int:
        """Training samples of all sources."""
        self.prepare()
        return sum(len(part) for part in self._parts)

    def summary(self) -> str:
        """Each source's share and size, a line each."""
        self.prepare()
        lines = [f"a mixture of {len(self.sources)} sources, {len(self):,} training frames"]
        for name, part, count in zip(self._names, self._parts, self.counts, strict=True):
            lines.append(f"  {count / BLOCK:6.1%}  {name}: {part.summary()}")
        return "\n".join(lines)

    def notes(self) -> list[str]:
        """See `Dataset.notes`; each line begins with the source's name."""
        self.prepare()
        return [f"{name}: {line}" for name, part in self.sources.items() for line in part.notes()]

    def cards(self) -> Cards:
        """One per embodiment."""
        self.prepare()
        out = []
        for group in _by_embodiment(self.sources).values():
            cards = [part.card() for part in group]
            said = sorted({text for card in cards for text in card.instructions})
            out.append(replace(cards[0], instructions=tuple(said), views=self._views))
        return Cards(out)

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
        source, draw = draws_of_step(step=step, batch_size=batch_size, counts=self.counts, seed=self.seed)
        source, draw = source[mine], draw[mine]
        index = np.empty(len(source), np.int64)
        for s, part in enumerate(self._parts):
            here = source == s
            places = indices_of_draws(draw[here], n=len(part.training_samples), seed=part.seed)
            index[here] = part.training_samples[places]
        return self._assembled(source, index, step=step)

    def validation_batches(self, *, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """The same held-out samples of all sources in the same shuffled order at every call, not augmented."""
        self.prepare()
        held = [self._begins[s] + part.validation_samples for s, part in enumerate(self._parts)]
        everything = np.concatenate(held)
        n = len(everything)
        if n == 0:
            return
        order = everything[indices_for_step(step=0, batch_size=n, n=n, seed=self.seed)]
        for number, begin in enumerate(range(0, n, batch_size)):
            if limit is not None and number >= limit:
                return
            yield self.batch(order[begin : begin + batch_size])

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> Batch:
        """The samples of these numbers (as in `Batch.index_B`), without augmentation."""
        self.prepare()
        numbers = np.asarray(indices, np.int64)
        if numbers.ndim != 1 or (len(numbers) and not (numbers.min() >= 0 and numbers.max() < self._begins[-1])):
            raise DataError(f"samples of {self.name} are numbered 0..{self._begins[-1] - 1}, got {numbers}")
        source = np.searchsorted(self._begins, numbers, side="right") - 1
        return self._assembled(source, numbers - self._begins[source], step=None)

    def _assembled(self, source: np.ndarray, index: np.ndarray, *, step: int | None) -> Batch:
        """One batch of samples from several sources, in the order asked. step: augmented as in training; None: not."""
        pieces, places = [], []
        for s, part in enumerate(self._parts):
            here = np.flatnonzero(source == s)
            if not len(here):
                continue
            piece = part.batch(index[here]) if step is None else part.augmented(index[here], step=step)
            piece = replace(piece, index_B=piece.index_B + int(self._begins[s]))
            pieces.append(with_views(piece, self._views))
            places.append(here)
        return joined(pieces, np.concatenate(places))


def _opened(sources: Mapping[str, Callable[[], Dataset]]) -> dict[str, Dataset]:
    """All of them, or one error that names each that cannot be opened and why."""
    opened: dict[str, Dataset] = {}
    wrong: dict[str, LaraError] = {}
    for name, make in sources.items():
        try:
            opened[name] = make()
        except LaraError as error:
            wrong[name] = error
    if wrong:
        lines = "\n".join(f"  data.sources.{name}: {error}" for name, error in wrong.items())
        kind = ConfigError if all(isinstance(error, ConfigError) for error in wrong.values()) else DataError
        raise kind(f"{len(wrong)} of {len(sources)} sources cannot be used:\n{lines}")
    return opened


def _by_embodiment(sources: Mapping[str, Dataset]) -> dict[str, list[Dataset]]:
    groups: dict[str, list[Dataset]] = {}
    for part in sources.values():
        groups.setdefault(part.embodiment, []).append(part)
    return groups


def _require_one_batch(sources: Mapping[str, Dataset]) -> None:
    """Raises ConfigError where shapes cannot stand in one batch, or one robot's sources disagree about what it is."""
    shapes: dict[str, Callable[[Dataset], object]] = {
        "horizon": lambda d: d.horizon,
        "action_dim_max": lambda d: d.action_dim_max,
        "state_dim_max": lambda d: d.state_dim_max,
        "image_size": lambda d: d.image_size,
        "number of lam.cameras": lambda d: len(d.lam_cameras),
        "lam.image_size": lambda d: d.lam_image_size if d.lam_cameras else None,
        "number of lam.frames": lambda d: d.lam.sampling(d.horizon).count if d.lam_cameras else 0,
    }
    for what, of in shapes.items():
        found = {name: of(part) for name, part in sources.items()}
        if len(set(found.values())) > 1:
            raise ConfigError(f"the sources of a mixture share one {what}, so that they fit in a batch; got {found}")
    for robot, group in _by_embodiment(sources).items():
        shared: dict[str, Callable[[Dataset], object]] = {
            "actions": lambda d: d.actions,
            "names of actions and states": lambda d: (d.robot.action.names, d.robot.observation.state),
            "cameras": lambda d: d.cameras,
            "normalisers": lambda d: d.normalizers,
        }
        for what, same in shared.items():
            if any(same(part) != same(group[0]) for part in group):
                raise ConfigError(
                    f"two sources are of the embodiment '{robot}' and have different {what}: "
                    f"{[same(part) for part in group]}; make them agree, or give them different embodiments"
                )
