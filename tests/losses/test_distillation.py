"""Distances between a student's and a teacher's latents."""

import pytest
import torch

from lara.losses.distillation import latent_kl, latent_mse

G = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(4, 3, 5, generator=G) for _ in range(2))
MASK = torch.tensor([True, True, False, True])
BOTH = [latent_mse, latent_kl]


@pytest.mark.parametrize("loss", BOTH)
def test_zero_at_the_teacher_positive_elsewhere_and_falling_towards_it(loss):
    assert loss(TEACHER, TEACHER, MASK).abs() < 1e-6
    ways = [loss(TEACHER + s * (STUDENT - TEACHER), TEACHER, MASK) for s in (0.25, 0.5, 1.0)]
    assert 0 < ways[0] < ways[1] < ways[2]


@pytest.mark.parametrize("loss", BOTH)
def test_only_the_student_is_moved_and_only_by_real_samples(loss):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss(student, teacher, MASK).backward()
    assert teacher.grad is None
    assert student.grad[MASK].abs().amax(dim=(1, 2)).min() > 0
    assert not student.grad[~MASK].any()
    spoilt = torch.where(MASK[:, None, None], STUDENT, torch.nan)
    torch.testing.assert_close(loss(spoilt, TEACHER, MASK), loss(STUDENT, TEACHER, MASK))
    assert loss(STUDENT, TEACHER, torch.zeros_like(MASK)) == 0


def test_the_divergence_is_torchs_own_with_the_student_first():
    p, q = (torch.distributions.Categorical(logits=z / 0.7) for z in (STUDENT, TEACHER))
    kl = latent_kl(STUDENT, TEACHER, torch.ones(4, dtype=torch.bool), temperature=0.7)
    torch.testing.assert_close(kl, torch.distributions.kl_divergence(p, q).mean())
    other = torch.distributions.kl_divergence(q, p).mean()
    assert (kl - other).abs() > 1e-3


def test_the_divergence_is_blind_to_a_shift_that_the_squares_see():
    everything = torch.ones(4, dtype=torch.bool)
    assert latent_kl(TEACHER + 3.0, TEACHER, everything).abs() < 1e-5
    torch.testing.assert_close(latent_mse(TEACHER + 3.0, TEACHER, everything), torch.tensor(9.0))
