"""What every coupling may rely on, and that any objective goes with any coupling of a LAM that learns."""

import copy

import pytest
import torch

from lara.errors import ConfigError
from lara.losses.alignment import RawCosine
from lara.systems.couplings.alignment import Alignment
from lara.systems.couplings.coupling import Coupling
from lara.systems.couplings.uncoupled import action_term
from lara.systems.lam import LamSystem
from lara.systems.lara import Lara
from lara.systems.objectives.additive import AdditiveLaws
from lara.systems.objectives.clips import Clips
from lara.systems.objectives.pairs import Pairs
from lara.types import Losses
from tests.golden.compositions.lam import additive_lam, triplets
from tests.tiny import HORIZON, open_gates, tiny_batch, tiny_lam, tiny_latbot, tiny_policy


class Regressed(Coupling):
    """A whole new coupling: a head on the last state reads off the latent, by squared error."""

    def bind(self, policy, lam):
        self.head = torch.nn.Linear(policy.width, lam.latent_dim)
        self.seen = []

    def parts(self):
        return {"regressed.head": self.head}

    def terms(self):
        return ("action", "regressed")

    def losses(self, policy, lam, batch, terms, read):
        action, flow = action_term(policy, batch)
        self.seen.append(read() is read())
        guess = self.head(flow.states["norm_out"][:, -1])
        return Losses({"action": action, "regressed": (guess - read().latent().flatten(1)).square().mean()}, {})

    def after_step(self, lam):
        self.seen.append(lam)


def _losses(system, batch, terms=None):
    torch.manual_seed(0)
    return system.losses(batch, frozenset(terms or system.terms()))


def _felt(system, batch, terms):
    open_gates(system)
    system.zero_grad()
    sum(_losses(system, batch, terms).terms.values()).backward()
    return {n for n, part in system.parts().items() for p in part.parameters() if p.grad is not None and p.grad.any()}


def test_a_new_coupling_is_one_class():
    coupling = Regressed()
    system = Lara(policy=tiny_policy(), lam=tiny_lam(), coupling=coupling)
    assert system.terms() == ("action", "regressed", "lam.reconstruction", "lam.commitment")
    assert "regressed.head" in system.parts()
    named = [p for part in system.parts().values() for p in part.parameters()]
    assert len(named) == len({id(p) for p in named}) == len(list(system.parameters()))
    assert {"lam.former", "policy.expert", "regressed.head"} <= _felt(system, tiny_batch(), ["regressed"])
    system.after_step()
    assert coupling.seen == [True, system.lam]  # the LAM read its frames once, whoever asked


@pytest.mark.parametrize(
    ("lam", "objective", "batch"),
    [
        (tiny_lam, Pairs(), tiny_batch),
        (additive_lam, AdditiveLaws(), triplets),
        (tiny_latbot, Clips(), tiny_batch),
    ],
    ids=["pairs", "additive", "clips"],
)
def test_any_objective_goes_with_the_alignment_and_keeps_its_own_terms(lam, objective, batch):
    model = lam()
    own = LamSystem(lam=copy.deepcopy(model), objective=objective)
    system = Lara(policy=tiny_policy(), lam=model, coupling=Alignment(objective=RawCosine), objective=objective)
    assert system.terms() == ("action", "align", *own.terms())
    assert system.action_terms() == ("action", "align", *own.action_terms())
    expected, found = _losses(own.eval(), batch()), _losses(system.eval(), batch())
    for name in own.terms():
        torch.testing.assert_close(found.terms[name], expected.terms[name])
    felt = _felt(system.train(), batch(), ["align"])
    assert {"lam.former", "policy.expert", "align.projector"} <= felt
    assert "lam.decoder" not in felt


def test_a_moving_average_of_a_lam_without_an_encoder_is_refused():
    with pytest.raises(ConfigError, match="encoder and former"):
        Lara(
            policy=tiny_policy(),
            lam=tiny_latbot(),
            coupling=Alignment(objective=RawCosine, target="ema"),
            objective=Clips(),
        )


def test_lams_that_an_objective_cannot_train_are_named():
    with pytest.raises(ConfigError, match=r"objective=pairs.*LatBotLam.*objective=clips"):
        LamSystem(lam=tiny_latbot())
    with pytest.raises(ConfigError, match="choose lam=latbot"):
        LamSystem(lam=tiny_lam(), objective=Clips())


def test_a_choice_by_flow_time_needs_flow_times():
    """A layer of another's policy has states and no times: nothing would be aligned, in silence."""
    system = Lara(policy=tiny_policy(), lam=tiny_lam(), coupling=Alignment(objective=RawCosine, tau_range=(0.5, 1.0)))
    h, z, real = torch.randn(6, 32), torch.randn(6, 2, 8), torch.ones(6, dtype=torch.bool)
    with pytest.raises(ConfigError, match="come without one"):
        system.coupling.agree(h, z, real)
    assert system.coupling.agree(h, z, real, torch.full((6,), 0.9)).terms["align"] > 0
    assert system.coupling.agree(h, z, real, torch.full((6,), 0.1)).terms["align"] == 0


def test_reconstructed_features_are_a_term_of_every_objective():
    system = LamSystem(lam=additive_lam(features=True), objective=AdditiveLaws())
    assert "lam.feature" in system.terms()
    assert _losses(system, triplets()).terms["lam.feature"] > 0


def test_what_a_system_does_not_say_has_a_default_that_does_nothing_or_explains():
    system = LamSystem(lam=tiny_lam())
    assert (system.after_step(), system.after_load(), system.action_terms(), system.tapped) == (None, None, (), None)
    system.intervene("use")
    with pytest.raises(ConfigError, match="generates no latents to freeze"):
        system.intervene("freeze")
    batch, system = tiny_batch(), system.eval()
    assert torch.equal(
        system(batch, frozenset({"lam.reconstruction"})).terms["lam.reconstruction"],
        _losses(system, batch, ["lam.reconstruction"]).terms["lam.reconstruction"],
    )
    joint = Lara(policy=tiny_policy(), lam=tiny_lam(), coupling=Alignment(objective=RawCosine))
    assert joint.tapped == "block_2 of 4 blocks"
    assert joint.act(batch.observation, steps=1).actions_BHA.shape[1] == HORIZON
