"""ALAM (paper 004), its latent action model: transitions that add up and change sign when reversed.

    z_ab + z_bc = z_ac        z_ba = -z_ab        for a < b < c                                  (Eqs. 2 and 7)

The four pairs ab, bc, ac, ba are encoded independently; each is decoded through the quantiser (a bottleneck of training
only), and the two laws act on the continuous latents before it. The laws ask nothing of R^D in particular: any
`GroupSpace` will do. The transfer to a policy is systems.alam_policy; beside a policy in training, they are LARA's
`objective`.
"""

from __future__ import annotations

from torch import Tensor

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.latents.groups import GroupSpace
from lara.losses.group import composition, relative, reversal
from lara.systems.triplet import Triplet, TripletObjective, TripletSystem
from lara.types import Losses

PAIRS = ("ab", "bc", "ac", "ba")
LAWS = ("lam.composition", "lam.reversal", "lam.composition_relative", "lam.reversal_relative")


class AdditiveLaws(TripletObjective):
    """For a LAM over a `GroupSpace`. Terms: lam.reconstruction, those of its space, lam.lpips if it has LPIPS, and the
    two laws, each in the paper's form (lam.composition, lam.reversal) and divided by the mean square of z
    (lam.composition_relative, lam.reversal_relative, ours), which a shrinking z cannot win. A stage weighs one form and
    switches the other off by null; the ablations of Table 4 switch a law off in both."""

    def check(self, lam: LatentActionModel) -> None:
        if not isinstance(lam.space, GroupSpace):
            raise ConfigError(
                f"the laws need a space with compose, inverse and identity; {type(lam.space).__name__} has none"
            )

    def terms(self, lam: LatentActionModel) -> tuple[str, ...]:
        return (*(f"lam.{name}" for name in lam.terms()), *LAWS)

    def losses(self, lam: LatentActionModel, triplet: Triplet, terms: frozenset[str]) -> Losses:
        space = lam.space
        z = space.project(triplet.raw(lam, PAIRS))
        mask, whole = triplet.mask(PAIRS), triplet.mask(["abc"])
        z_ab, z_bc, z_ac, z_ba = z.chunk(4)

        bottleneck = space.bottleneck(z, mask)
        computed: dict[str, Tensor] = {f"lam.{name}": value for name, value in bottleneck.terms.items()}
        now, target = triplet.sources(lam, "abab"), triplet.targets(lam, "bcca")
        prediction = lam.decode(now, bottleneck.z)
        computed["lam.reconstruction"] = lam.error(prediction, target, mask)
        if "lam.lpips" in terms:
            computed["lam.lpips"] = lam.lpips(prediction, target, mask)
        computed["lam.composition"] = composition(space, z_ab, z_bc, z_ac, whole)
        computed["lam.reversal"] = reversal(space, z_ab, z_ba, triplet.mask(["ab"]))
        computed["lam.composition_relative"] = relative(computed["lam.composition"], z_ac, whole)
        computed["lam.reversal_relative"] = relative(computed["lam.reversal"], z_ab, triplet.mask(["ab"]))

        metrics = {name: computed[name].detach() for name in LAWS}
        metrics |= {f"lam.{name}": value for name, value in bottleneck.metrics.items()}
        metrics |= {f"lam.{name}": value for name, value in lam.quality(prediction, target, now, mask).items()}
        if not lam.training:
            metrics[f"lam.{lam.measure}_other_latent"] = lam.quality_with_another_latent(
                bottleneck.z, target, now, mask
            )
        return Losses({name: computed[name] for name in self.terms(lam) if name in terms}, metrics)


class Alam(TripletSystem):
    """ALAM's stage 1: a LAM under `AdditiveLaws`."""

    def __init__(self, *, lam: LatentActionModel) -> None:
        super().__init__(lam, AdditiveLaws())
