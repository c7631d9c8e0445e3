import math

import pytest
import torch

from lara.ops.flow import euler, flip_time, flip_velocity, path, sample_tau


def test_path_runs_from_noise_to_data_with_constant_velocity():
    data, noise = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    start, end = path(data, noise, torch.zeros(3)), path(data, noise, torch.ones(3))
    torch.testing.assert_close(start.x, noise)
    torch.testing.assert_close(end.x, data)
    torch.testing.assert_close(start.velocity, data - noise)
    torch.testing.assert_close(start.velocity, end.velocity)


@pytest.mark.parametrize(("alpha", "beta"), [(1.5, 1.0), (2.0, 3.0)])
def test_tau_law_has_the_moments_of_its_beta(alpha, beta):
    torch.manual_seed(0)
    tau = sample_tau(200_000, device="cpu", alpha=alpha, beta=beta, scale=0.999)
    assert tau.min() >= 0
    assert tau.max() <= 0.999
    mean = 0.999 * (1 - alpha / (alpha + beta))
    deviation = 0.999 * math.sqrt(alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1)))
    assert abs(tau.mean() - mean) < 4 * deviation / math.sqrt(200_000)
    assert abs(tau.std() - deviation) < 0.005


def test_euler_on_the_true_velocity_of_a_gaussian_lands_on_it():
    """Data N(m, s^2), noise N(0, 1): v(x, tau) = E[a - eps | x_tau = x] is linear in x and known in closed form."""
    m, s = 2.0, 0.5

    def velocity(x, tau_B):
        tau = tau_B[:, None]
        variance = (tau * s) ** 2 + (1 - tau) ** 2
        gain = (tau * s**2 - (1 - tau)) / variance
        return m + gain * (x - tau * m)

    noise = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    coarse, fine = (euler(velocity, noise, steps=k) for k in (10, 400))
    assert abs(fine.mean() - m) < 0.02
    assert abs(fine.std() - s) < 0.01
    # a first-order method: more steps, less error
    assert abs(fine.std() - s) < abs(coarse.std() - s)


def test_euler_is_exact_where_the_velocity_is_constant():
    data, noise = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close(euler(lambda x, tau: data - noise, noise, steps=1), data)
    with pytest.raises(ValueError, match="at least one step"):
        euler(lambda x, tau: x, noise, steps=0)


def test_the_other_direction_of_time_is_an_involution_and_agrees_with_pi0():
    data, noise, t = torch.randn(4, 2), torch.randn(4, 2), torch.rand(4)
    # pi0: x_t = t * eps + (1 - t) * a, u = eps - a
    theirs = t[:, None] * noise + (1 - t[:, None]) * data
    ours = path(data, noise, flip_time(t))
    torch.testing.assert_close(ours.x, theirs)
    torch.testing.assert_close(flip_velocity(ours.velocity), noise - data)
    torch.testing.assert_close(flip_time(flip_time(t)), t)
