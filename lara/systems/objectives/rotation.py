"""RotVLA (paper 001), stage 1: latent actions as rotations, learned on triplets.

    R_ab, R_bc = the latents of two consecutive steps;   R_e = the latent of standing still        (Eqs. 5, 6, 9)
    loss = |I_b - D(I_a, R_ab)|^2 + |I_c - D(I_b, R_bc)|^2 + |I_c - D(I_a, R_ac)|^2 + KL            (Eqs. 7, 8, 11, 12)
    R_ac = R_ab R_e' R_bc: composition in the gauge whose unit is R_e                                (Eq. 10)

lam.reconstruction is the MEAN of the first two errors: the sum above has weights 2 and 1 (conf/stage/lam_rotvla.yaml).
The composed prediction is what keeps a latent from being a copy of the next frame: applied twice, it must still move.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.latents.rotation import RotationSpace
from lara.losses.group import composition, relative
from lara.systems.objectives.objective import check_pairwise, own_names, under_lam
from lara.systems.objectives.triplet import Triplet, TripletObjective
from lara.types import Losses

STEPS = ("ab", "bc")


class RotationTriplets(TripletObjective):
    """For a LAM over a `RotationSpace`. Terms: lam.reconstruction (the mean of the two single steps), lam.composed (the
    two-step prediction; null is the ablation without triplet), lam.kl if the space has a SoftVQ, lam.lpips if the LAM
    has LPIPS."""

    buildable: ClassVar[str] = "model"

    def check(self, lam: Any) -> None:
        check_pairwise(lam, "rotation")
        if not isinstance(lam.space, RotationSpace):
            raise ConfigError(
                f"RotVLA's latents are rotations; got {type(lam.space).__name__}, set lam.space to RotationSpace"
            )

    def terms(self, lam: LatentActionModel) -> tuple[str, ...]:
        return (*(f"lam.{name}" for name in lam.terms()), "lam.composed")

    def losses(self, lam: LatentActionModel, triplet: Triplet, terms: frozenset[str]) -> Losses:
        space = lam.space
        mask, whole = triplet.mask(STEPS), triplet.mask(["abc"])
        extracted = space.extract(triplet.raw(lam, STEPS), mask)
        single = under_lam(lam.compare(triplet.steps("ab", "bc"), extracted.z, mask, own_names(terms)))
        computed = single.terms | {f"lam.{name}": value for name, value in extracted.terms.items()}
        metrics = {f"lam.{name}": value for name, value in extracted.metrics.items()} | single.metrics

        if "lam.composed" in terms or not lam.training:
            z_ab, z_bc = extracted.z.chunk(2)
            z_aa = space.extract(triplet.raw(lam, ["aa"]), triplet.mask(["a"])).z
            gauge = space.gauge(z_aa, triplet.mask(["a"]))
            computed["lam.composed"] = lam.step_error(triplet.steps("a", "c"), gauge.compose(z_ab, z_bc), whole)
            metrics["lam.composed_error"] = computed["lam.composed"].detach()
            if not lam.training:
                z_ac = space.extract(triplet.raw(lam, ["ac"]), whole).z
                error = composition(gauge, z_ab, z_bc, z_ac, whole)
                metrics["lam.composition_relative"] = relative(error, z_ac, whole)
        return Losses({name: computed[name] for name in self.terms(lam) if name in terms}, metrics)
