"""What the law losses promise beyond the laws themselves (those are in tests/latents/test_group_laws.py)."""

import pytest
import torch

from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.losses.group import composition, identity_anchor, relative, reversal

N = 4
SPACES = {"additive": AdditiveSpace(dim=N), "rotation": RotationSpace(dim=N)}
LAWS = {
    "composition": (composition, 3),
    "reversal": (reversal, 2),
    "identity": (identity_anchor, 1),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
every_law = pytest.mark.parametrize(("law", "arity"), LAWS.values(), ids=LAWS)


def latents(space, count, n=6):
    g = torch.Generator().manual_seed(0)
    return [space.project(torch.randn(n, N, N, generator=g)) for _ in range(count)]


@every_space
@every_law
def test_masked_samples_change_neither_value_nor_gradient(space, law, arity):
    mask = torch.arange(6) < 4
    results = []
    for garbage in (0.0, 1e6, torch.nan):
        z = [torch.where(mask[:, None, None], x, garbage).requires_grad_() for x in latents(space, arity)]
        loss = law(space, *z, mask)
        grads = torch.autograd.grad(loss, z)
        assert not any(grad[~mask].any() for grad in grads)
        results.append((loss, [grad[mask] for grad in grads]))
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(results[2], results[0])


@every_space
@every_law
def test_an_empty_mask_is_zero(space, law, arity):
    z = [x.requires_grad_() for x in latents(space, arity)]
    loss = law(space, *z, torch.zeros(6, dtype=torch.bool))
    assert loss == 0
    assert not any(grad.any() for grad in torch.autograd.grad(loss, z))


@every_space
@every_law
def test_every_argument_receives_gradient(space, law, arity):
    z = [x.requires_grad_() for x in latents(space, arity)]
    for grad in torch.autograd.grad(law(space, *z, torch.ones(6, dtype=torch.bool)), z):
        assert grad.flatten(1).norm(dim=1).min() > 1e-5


def test_distance_is_the_mean_square_of_components_so_alams_sum_is_q_times_d_times_it():
    a, b, c = latents(SPACES["additive"], 3)
    ours = composition(SPACES["additive"], a, b, c, torch.ones(6, dtype=torch.bool))
    alam = (c - (a + b)).square().sum((1, 2)).mean()
    torch.testing.assert_close(ours * N * N, alam)


def test_the_relative_figure_does_not_fall_when_everything_shrinks():
    space, mask = SPACES["additive"], torch.ones(6, dtype=torch.bool)
    a, b, c = latents(space, 3)
    figures = [relative(composition(space, s * a, s * b, s * c, mask), s * c, mask) for s in (1.0, 1e-3)]
    torch.testing.assert_close(figures[0], figures[1])
    assert not figures[0].requires_grad
    torch.testing.assert_close(relative(reversal(space, a, 0 * a, mask), a, mask), torch.tensor(1.0))


def test_shrinking_z_lowers_the_law_but_not_its_relative_form():
    space, mask = AdditiveSpace(dim=3), torch.ones(4, dtype=torch.bool)
    scale = torch.ones((), requires_grad=True)
    a, b, c = (scale * torch.randn(4, 2, 3) for _ in range(3))
    law = composition(space, a, b, c, mask)
    (towards_zero,) = torch.autograd.grad(law, scale, retain_graph=True)
    (unmoved,) = torch.autograd.grad(relative(law, c, mask), scale)
    assert towards_zero > 0.1
    assert abs(unmoved) < 1e-5


def test_the_relative_figure_of_rotations_is_at_most_four():
    space, mask = SPACES["rotation"], torch.ones(6, dtype=torch.bool)
    still = torch.eye(N).expand(6, N, N)
    torch.testing.assert_close(relative(identity_anchor(space, -still, mask), -still, mask), torch.tensor(4.0))


def test_bfloat16_latents_do_not_lose_small_errors():
    space, mask = SPACES["additive"], torch.ones(6, dtype=torch.bool)
    z = latents(space, 1)[0].bfloat16()
    assert composition(space, z, torch.zeros_like(z), z, mask) == 0
    assert composition(space, z, torch.zeros_like(z), z, mask).dtype == torch.float32
