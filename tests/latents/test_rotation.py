import pytest
import torch

from lara.errors import ConfigError
from lara.latents.rotation import RotationSpace
from lara.nn.softvq import SoftVQ
from lara.ops.rotation import frobenius, project_to_son

N = 4
ALL = torch.ones(6, dtype=torch.bool)


def soft_space(**changes):
    torch.manual_seed(0)
    return RotationSpace(dim=N, softvq=SoftVQ(dim=N, codes=16, temperature=0.3, **changes))


def assert_rotations(r):
    torch.testing.assert_close(r.mT @ r, torch.eye(N).expand_as(r), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(len(r)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("onto", ["svd", "cayley", "exponential"])
def test_without_a_codebook_the_bottleneck_is_the_rotation_itself(onto):
    space = RotationSpace(dim=N, onto=onto)
    z = space.project(torch.randn(6, N, N))
    assert_rotations(z)
    out = space.bottleneck(z, ALL)
    assert out.z is z
    assert out.terms == {}
    assert space.terms() == ()


def test_the_papers_latent_is_codebook_first_then_projection():
    space, raw = soft_space(), 3 * torch.randn(6, N, N)
    out = space.extract(raw, ALL)
    assert_rotations(out.z)
    torch.testing.assert_close(out.z, project_to_son(space.softvq(raw).mixture_BTD))
    assert not torch.allclose(out.z, space.bottleneck(space.project(raw), ALL).z, atol=1e-2)
    assert set(out.terms) == set(space.terms()) == {"kl"}
    assert 1 <= out.metrics["perplexity"] <= 16
    assert 1 / 16 <= out.metrics["hardness"] <= 1


def test_reconstruction_and_kl_reach_encoder_and_codes():
    space, raw = soft_space(), torch.randn(6, N, N, requires_grad=True)
    for wanted in ("z", "kl"):
        out = space.extract(raw, ALL)
        loss = (out.z * torch.randn(6, N, N)).sum() if wanted == "z" else out.terms["kl"]
        for grad in torch.autograd.grad(loss, [raw, space.softvq.codebook]):
            assert grad.isfinite().all()
            assert grad.abs().max() > 1e-6


def test_masked_samples_touch_neither_losses_nor_codes():
    space, raw, mask = soft_space(), torch.randn(6, N, N), torch.arange(6) < 4
    results = []
    for garbage in (0.0, 1e6, torch.nan):
        space.zero_grad()
        out = space.extract(torch.where(mask[:, None, None], raw, garbage), mask)
        (out.terms["kl"] + out.z[mask].square().mul(torch.arange(N)).sum()).backward()
        results.append((out.terms["kl"], out.metrics, space.softvq.codebook.grad.clone(), out.z[mask]))
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(results[2], results[0])
    empty = space.extract(raw, torch.zeros(6, dtype=torch.bool))
    assert empty.terms["kl"] == 0
    assert empty.metrics["perplexity"] == 1


def test_the_gauge_unit_is_the_mean_of_standing_still():
    """Noise around one rotation: the unit is near that rotation, and nearer than a single noisy sample."""
    torch.manual_seed(0)
    space = RotationSpace(dim=N)
    still = space.project(torch.randn(1, N, N))
    z = space.project(still + 0.2 * torch.randn(64, N, N))
    gauge = space.gauge(z, torch.ones(64, dtype=torch.bool))
    assert frobenius(gauge.unit[None], still).item() < 0.3 * frobenius(z, still).mean().item()
    mask = torch.arange(64) < 32
    other = torch.where(mask[:, None, None], z, torch.full_like(z, torch.nan))
    torch.testing.assert_close(space.gauge(other, mask).unit, space.gauge(z[:32], mask[:32]).unit)


def test_a_batch_without_identical_pairs_has_the_plain_group():
    space = RotationSpace(dim=N)
    z = space.project(torch.randn(6, N, N)).requires_grad_()
    gauge = space.gauge(z, ~ALL)
    assert torch.equal(gauge.unit, torch.eye(N))
    torch.testing.assert_close(gauge.compose(z, z), space.compose(z, z))
    (grad,) = torch.autograd.grad((gauge.unit * torch.randn(N, N)).sum(), z)
    assert not grad.any()


def test_the_gauge_is_the_plain_group_moved_by_its_unit():
    torch.manual_seed(0)
    space = RotationSpace(dim=N)
    a, b, still = (space.project(torch.randn(6, N, N, dtype=torch.float64)) for _ in range(3))
    gauge = space.gauge(still, ALL)

    def moved(r):
        return r @ gauge.unit.mT

    torch.testing.assert_close(moved(gauge.compose(a, b)), space.compose(moved(a), moved(b)))
    torch.testing.assert_close(moved(gauge.inverse(a)), space.inverse(moved(a)))
    torch.testing.assert_close(moved(gauge.identity(a)), space.identity(a).clone())


def test_the_gradient_reaches_the_identical_pairs():
    space = RotationSpace(dim=N)
    raw = torch.randn(6, N, N, dtype=torch.float64, requires_grad=True)
    a = space.project(torch.randn(6, N, N, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: space.gauge(space.project(x), ALL).compose(a, a), (raw,))


@pytest.mark.parametrize("onto", ["svd", "cayley", "exponential"])
def test_a_model_can_carry_rotations(onto):
    """Through the whole latent action model: N queries of N dims, and every part learns."""
    from tests.tiny import SIZE, tiny_lam

    lam = tiny_lam(space=RotationSpace(dim=N, onto=onto), queries=N)
    frames = torch.randint(0, 256, (3, 2, 3, SIZE, SIZE), dtype=torch.uint8)
    tokens = lam.encode_frames(frames)
    latent = lam.latent(tokens)
    assert_rotations(latent.z_BQD)
    losses = lam.losses(frames, tokens, latent, ALL[:3], frozenset(lam.terms()))
    losses.terms["reconstruction"].backward()
    assert lam.former.down[-1].weight.grad.abs().max() > 0


@pytest.mark.parametrize("onto", ["svd", "cayley", "exponential"])
def test_shapes_can_be_seen_without_weights(onto):
    with torch.device("meta"):
        space = RotationSpace(dim=N, onto=onto, softvq=SoftVQ(dim=N, codes=8) if onto == "svd" else None)
        z = space.project(torch.randn(6, N, N))
        out = space.bottleneck(z, torch.ones(6, dtype=torch.bool))
        unit = space.gauge(z, torch.ones(6, dtype=torch.bool)).unit
    assert out.z.shape == (6, N, N)
    assert unit.shape == (N, N)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="queries to 4"):
        RotationSpace(dim=N).project(torch.randn(2, N + 1, N + 1))
    with pytest.raises(ConfigError, match="onto must be one of"):
        RotationSpace(dim=N, onto="qr")
    with pytest.raises(ConfigError, match="dims of a token"):
        RotationSpace(dim=N, softvq=SoftVQ(dim=N + 1))
    with pytest.raises(ConfigError, match="svd"):
        RotationSpace(dim=N, onto="cayley", softvq=SoftVQ(dim=N))
    with pytest.raises(ConfigError, match="at least 2"):
        RotationSpace(dim=1)
