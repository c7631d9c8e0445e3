"""ALAM (paper 004), its latent action model: transitions that add up and change sign when reversed.

    z_ab + z_bc = z_ac        z_ba = -z_ab        for a < b < c                                  (Eqs. 2 and 7)

The four pairs ab, bc, ac, ba are encoded independently and all of them are quantised (a bottleneck of training only,
Eq. 5); the three that run forward are decoded (Eqs. 6 and 8), and the two laws act on the continuous latents before the
quantiser. The laws ask nothing of R^D in particular: any space that is a group will do. The transfer to a policy is
systems.couplings.step_latents.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.losses.group import composition, relative, reversal
from lara.systems.objectives.objective import check_pairwise, own_names, under_lam
from lara.systems.objectives.triplet import Triplet, TripletObjective
from lara.types import Losses

FORWARD = ("ab", "bc", "ac")
PAIRS = (*FORWARD, "ba")
LAWS = ("lam.composition", "lam.reversal", "lam.composition_relative", "lam.reversal_relative")


class AdditiveLaws(TripletObjective):
    """For a LAM over a space that is a group.

    Terms: lam.reconstruction and, if the LAM has LPIPS, lam.lpips, over the forward pairs; those of its space, over all
    four; and the two laws, each in the paper's form (lam.composition, lam.reversal) and divided by the mean square of z
    (lam.composition_relative, lam.reversal_relative, ours), which a shrinking z cannot win. A stage weighs one form and
    switches the other off by null; the ablations of Table 4 switch a law off in both.
    """

    buildable: ClassVar[str] = "model"

    def check(self, lam: Any) -> None:
        check_pairwise(lam, "additive")
        if lam.space.group() is None:
            raise ConfigError(
                f"the laws need a space with compose, inverse and identity; {type(lam.space).__name__} has none"
            )

    def terms(self, lam: LatentActionModel) -> tuple[str, ...]:
        return (*(f"lam.{name}" for name in lam.terms()), *LAWS)

    def losses(self, lam: LatentActionModel, triplet: Triplet, terms: frozenset[str]) -> Losses:
        space = lam.space
        z = space.project(triplet.raw(lam, PAIRS))
        z_ab, z_bc, z_ac, z_ba = z.chunk(4)
        bottleneck = space.bottleneck(z, triplet.mask(PAIRS))
        # the way back, last of PAIRS, serves the law alone and is never decoded
        steps, mask = triplet.steps("aba", "bcc"), triplet.mask(FORWARD)
        forward = under_lam(lam.compare(steps, bottleneck.z[: len(mask)], mask, own_names(terms)))
        computed = forward.terms | {f"lam.{name}": value for name, value in bottleneck.terms.items()}

        whole, there = triplet.mask(["abc"]), triplet.mask(["ab"])
        computed["lam.composition"] = composition(space, z_ab, z_bc, z_ac, whole)
        computed["lam.reversal"] = reversal(space, z_ab, z_ba, there)
        computed["lam.composition_relative"] = relative(computed["lam.composition"], z_ac, whole)
        computed["lam.reversal_relative"] = relative(computed["lam.reversal"], z_ab, there)

        metrics = {name: computed[name].detach() for name in LAWS}
        metrics |= {f"lam.{name}": value for name, value in bottleneck.metrics.items()}
        return Losses({name: computed[name] for name in self.terms(lam) if name in terms}, metrics | forward.metrics)
