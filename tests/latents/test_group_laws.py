"""The laws of a group, for every latent space that is one (and for the gauge, which is one too)."""

import pytest
import torch

from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.losses.group import composition, identity_anchor, reversal
from lara.nn.softvq import SoftVQ

SIZES = [2, 3, 8, 16, 32]
ALL = torch.ones(5, dtype=torch.bool)


def gauge(n):
    torch.manual_seed(7)
    space = RotationSpace(dim=n)
    return space.gauge(space.project(torch.randn(5, n, n, dtype=torch.float64)), ALL)


SPACES = {
    "additive": lambda n: AdditiveSpace(dim=n),
    "svd": lambda n: RotationSpace(dim=n),
    "cayley": lambda n: RotationSpace(dim=n, onto="cayley"),
    "exponential": lambda n: RotationSpace(dim=n, onto="exponential"),
    "softvq": lambda n: RotationSpace(dim=n, softvq=SoftVQ(dim=n, codes=8)),
    "gauge": gauge,
}
PROJECTIONS = ["additive", "svd", "softvq"]
pytestmark = pytest.mark.parametrize("size", SIZES)
every_space = pytest.mark.parametrize("name", SPACES)


def elements(space, size, count=3, dtype=torch.float64):
    """`count` batches of 5 elements of the group."""
    g = torch.Generator().manual_seed(0)
    onto = getattr(space, "project", None) or RotationSpace(dim=size).project
    return [onto(torch.randn(5, size, size, generator=g, dtype=dtype)) for _ in range(count)]


@every_space
def test_composition_is_associative(name, size):
    space = SPACES[name](size)
    a, b, c = elements(space, size)
    torch.testing.assert_close(space.compose(space.compose(a, b), c), space.compose(a, space.compose(b, c)))


@every_space
def test_identity_is_a_two_sided_unit_and_its_own_inverse(name, size):
    space = SPACES[name](size)
    (a,) = elements(space, size, 1)
    unit = space.identity(a)
    assert unit.shape == a.shape
    torch.testing.assert_close(space.compose(unit, a), a)
    torch.testing.assert_close(space.compose(a, unit), a)
    torch.testing.assert_close(space.inverse(unit), unit.clone())


@every_space
def test_inverse_undoes_from_both_sides_and_turns_the_order_round(name, size):
    space = SPACES[name](size)
    a, b = elements(space, size, 2)
    unit = space.identity(a).clone()
    torch.testing.assert_close(space.compose(a, space.inverse(a)), unit)
    torch.testing.assert_close(space.compose(space.inverse(a), a), unit)
    torch.testing.assert_close(space.inverse(space.inverse(a)), a)
    torch.testing.assert_close(space.inverse(space.compose(a, b)), space.compose(space.inverse(b), space.inverse(a)))


@every_space
def test_the_group_is_closed_in_float32_over_many_steps(name, size):
    space = SPACES[name](size)
    (a,) = elements(space, size, 1, torch.float32)
    total = a
    for _ in range(50):
        total = space.compose(total, a)
    for _ in range(50):
        total = space.compose(total, space.inverse(a))
    torch.testing.assert_close(total, a, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_projection_is_idempotent_and_fixes_products(name, size):
    space = SPACES[name](size)
    a, b = elements(space, size, 2)
    torch.testing.assert_close(space.project(a), a)
    torch.testing.assert_close(space.project(space.compose(a, b)), space.compose(a, b))


@every_space
def test_difference_of_two_elements_does_not_change_when_both_are_composed_with_a_third(name, size):
    """The laws' distance is invariant under the group: an error weighs the same wherever on the group it is made."""
    space = SPACES[name](size)
    a, b, c = elements(space, size)
    distance = torch.linalg.vector_norm(a - b)
    torch.testing.assert_close(torch.linalg.vector_norm(space.compose(a, c) - space.compose(b, c)), distance)
    torch.testing.assert_close(torch.linalg.vector_norm(space.compose(c, a) - space.compose(c, b)), distance)


@every_space
def test_law_losses_vanish_where_the_laws_hold_and_only_there(name, size):
    space = SPACES[name](size)
    a, b, c = elements(space, size)
    assert composition(space, a, b, space.compose(a, b), ALL) < 1e-20
    assert reversal(space, a, space.inverse(a), ALL) < 1e-20
    assert identity_anchor(space, space.identity(a).clone(), ALL) < 1e-20
    assert composition(space, a, b, c, ALL) > 1e-3
    assert reversal(space, a, b, ALL) > 1e-3
    assert identity_anchor(space, a, ALL) > 1e-3


@every_space
def test_gradients_of_the_laws_are_the_numerical_ones(name, size):
    space = SPACES[name](size)
    raw = [x[:2].clone().requires_grad_() for x in elements(space, size)]
    mask = ALL[:2]
    onto = getattr(space, "project", None) or RotationSpace(dim=size).project

    def laws(x, y, z):
        a, b, c = onto(x), onto(y), onto(z)
        return composition(space, a, b, c, mask) + reversal(space, a, b, mask) + identity_anchor(space, c, mask)

    assert torch.autograd.gradcheck(laws, raw, fast_mode=size > 3)
