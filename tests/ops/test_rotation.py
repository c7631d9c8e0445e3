import time

import pytest
import torch

from lara.ops import rotation
from lara.ops.rotation import (
    cayley,
    compose,
    frobenius,
    geodesic,
    identity_like,
    inverse,
    project_to_son,
    project_to_son_naive,
    skew_exponential,
)
from tests.ops.adversarial_rotation import _spectrum, run

SIZES = [2, 3, 5, 8, 16]
ONTO = [project_to_son, cayley, skew_exponential]


def gaussian(n, size, *, det=0, seed=0, dtype=torch.float64):
    """Random matrices; det = +1 or -1 asks for that sign."""
    g = torch.Generator().manual_seed(seed)
    m = torch.randn(n, size, size, generator=g, dtype=torch.float64)
    if det:
        m[torch.linalg.det(m).sign() != det, 0] *= -1
    return m.to(dtype)


def rotations(n, size, seed=0, dtype=torch.float64):
    return project_to_son(gaussian(n, size, seed=seed, dtype=dtype))


def planar(angles, dtype=torch.float64):
    """A rotation of 2 len(angles) dims, by these angles in orthogonal planes, seen in a random basis."""
    angles = torch.tensor(angles, dtype=torch.float64)
    c, s = angles.cos(), angles.sin()
    r = torch.block_diag(*torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2))
    q = rotations(1, len(r), seed=3)[0]
    return (q @ r @ q.mT).to(dtype)


@pytest.mark.parametrize("onto", ONTO)
@pytest.mark.parametrize("size", SIZES)
def test_the_result_is_a_rotation(onto, size):
    r = onto(gaussian(8, size, dtype=torch.float32))
    torch.testing.assert_close(r.mT @ r, identity_like(r), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(8), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("det", [1, -1])
def test_projection_is_idempotent_scale_free_equivariant_and_equals_its_naive_twin(size, det):
    m = gaussian(8, size, det=det)
    r = project_to_son(m)
    torch.testing.assert_close(project_to_son(r), r)
    torch.testing.assert_close(project_to_son(m * 1e-20), r)
    q = rotations(8, size, seed=1)
    torch.testing.assert_close(project_to_son(q @ m), q @ r)
    torch.testing.assert_close(project_to_son(m @ q), r @ q)
    torch.testing.assert_close(r, project_to_son_naive(m))


@pytest.mark.parametrize("det", [1, -1])
def test_no_rotation_is_nearer(det):
    m = gaussian(1, 4, det=det)
    others = rotations(500, 4, seed=2)
    near = project_to_son(m) @ skew_exponential(0.01 * gaussian(500, 4, seed=3))
    best = frobenius(project_to_son(m), m)
    assert (frobenius(others, m.expand(500, 4, 4)) > best).all()
    assert (frobenius(near, m.expand(500, 4, 4)) > best).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("det", [1, -1])
def test_projection_gradient_is_the_numerical_one_and_the_twins(size, det):
    m = gaussian(1 if size > 8 else 2, size, det=det).requires_grad_()
    assert torch.autograd.gradcheck(project_to_son, (m,), fast_mode=size > 8)
    weight = gaussian(len(m), size, seed=5)
    (ours,) = torch.autograd.grad((project_to_son(m) * weight).sum(), m)
    (twin,) = torch.autograd.grad((project_to_son_naive(m) * weight).sum(), m)
    torch.testing.assert_close(ours, twin, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 8, 16])
def test_gradient_at_the_identity_is_the_skew_part_where_plain_svd_has_none(size):
    eye = torch.eye(size)[None].requires_grad_()
    weight = gaussian(1, size, dtype=torch.float32)
    (ours,) = torch.autograd.grad((project_to_son(eye) * weight).sum(), eye)
    torch.testing.assert_close(ours, (weight - weight.mT) / 2, atol=1e-6, rtol=1e-5)
    (plain,) = torch.autograd.grad((project_to_son_naive(eye) * weight).sum(), eye)
    assert not plain.isfinite().all()


@pytest.mark.parametrize("size", [2, 3, 4, 8])
@pytest.mark.parametrize("det", [1, -1])
def test_projection_agrees_with_roma(size, det):
    roma = pytest.importorskip("roma")
    m = gaussian(6, size, det=det).requires_grad_()
    weight = gaussian(6, size, seed=5)
    theirs = roma.special_procrustes(m, gradient_eps=1e-12, method="svd")
    torch.testing.assert_close(project_to_son(m), theirs)
    (a,) = torch.autograd.grad((project_to_son(m) * weight).sum(), m)
    (b,) = torch.autograd.grad((theirs * weight).sum(), m)
    torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-6)


def test_nothing_adversarial_breaks_projection():
    seen = run(20_000)
    assert seen["matrices"] >= 20_000
    broken = {"not finite", "gradient not finite", "not orthogonal", "determinant not 1"}
    assert {k: v for k, v in seen.items() if k in broken and v} == {}
    assert seen["orthogonality"] < 1e-5


@pytest.mark.long
def test_nothing_adversarial_breaks_projection_in_a_million():
    seen = run(1_000_000, seed=1)
    assert not any(seen.get(k) for k in ("not finite", "gradient not finite", "not orthogonal", "determinant not 1"))


def test_a_non_finite_matrix_gives_nan_and_leaves_its_neighbours_alone():
    m = gaussian(3, 4, dtype=torch.float32)
    good = project_to_son(m)
    m[1, 2, 3] = torch.inf
    r = project_to_son(m)
    assert r[1].isnan().all()
    assert torch.equal(r[::2], good[::2])


def test_projection_leaves_a_degenerate_start():
    """Descent from I, where plain SVD has a NaN gradient, to a target half a turn away in one plane."""
    target = planar([3.0, 0.2])
    m = torch.eye(4, dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.Adam([m], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        frobenius(project_to_son(m), target).square().backward()
        optimiser.step()
    assert frobenius(project_to_son(m), target) < 1e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("onto", ONTO)
def test_precision_is_kept_under_autocast_forward_and_backward(onto, dtype):
    m = gaussian(4, 5).to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = m.to(wide).requires_grad_()
    m.requires_grad_()
    weight = gaussian(4, 5, seed=5).to(wide)
    (onto(expected) * weight).sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        r = onto(m)
        loss = (r * weight).sum()
        if onto is project_to_son:
            loss.backward()
    if onto is not project_to_son:
        loss.backward()
    assert r.dtype == wide
    assert torch.equal(r, onto(expected))
    torch.testing.assert_close(m.grad, expected.grad.to(dtype))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chart", [cayley, skew_exponential])
def test_charts_have_their_numerical_gradient(chart, size):
    m = gaussian(1, size).requires_grad_()
    assert torch.autograd.gradcheck(chart, (m,), fast_mode=size > 8)


def test_all_three_agree_near_the_identity():
    m = gaussian(3, 6)
    skew = (m - m.mT) / 2
    for t, order in ((1e-3, 2), (1e-4, 2)):
        bound = 20 * t**order
        for onto in (cayley, skew_exponential, lambda x: project_to_son(identity_like(x) + x)):
            assert (onto(t * m) - identity_like(m) - t * skew).abs().max() < bound
    assert (cayley(1e-2 * m) - skew_exponential(1e-2 * m)).abs().max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_composition_is_a_group(size):
    a, b, c = (rotations(4, size, seed=k) for k in range(3))
    eye = identity_like(a)
    torch.testing.assert_close(compose(compose(a, b), c), compose(a, compose(b, c)))
    torch.testing.assert_close(compose(a, inverse(a)), eye.clone())
    torch.testing.assert_close(inverse(compose(a, b)), compose(inverse(b), inverse(a)))
    assert (frobenius(compose(a, b), compose(b, a)) > 0.1).all() == (size > 2)


@pytest.mark.parametrize("distance", [geodesic, frobenius])
@pytest.mark.parametrize("size", SIZES)
def test_distances_are_symmetric_and_invariant_on_both_sides(distance, size):
    a, b, q = (rotations(4, size, seed=k) for k in range(3))
    d = distance(a, b)
    assert (d > 0.1).all()
    torch.testing.assert_close(distance(b, a), d)
    torch.testing.assert_close(distance(q @ a, q @ b), d)
    torch.testing.assert_close(distance(a @ q, b @ q), d)
    torch.testing.assert_close(distance(a.mT, b.mT), d)
    assert (distance(a, a) < 1e-7).all()


PI = torch.pi


@pytest.mark.parametrize(
    "angles",
    [[1e-9], [1e-4, 0.0], [1e-3, 2e-3], [0.5, 0.5], [1.0, -2.0], [PI - 1e-9], [PI - 1e-4, PI - 2e-4, 1e-4], [PI]],
)
def test_geodesic_is_the_norm_of_the_angles_from_zero_to_pi(angles):
    r = planar(angles)
    expected = torch.tensor(angles, dtype=torch.float64).square().sum().sqrt()
    torch.testing.assert_close(geodesic(identity_like(r), r), expected, atol=1e-14, rtol=1e-7)
    single = geodesic(identity_like(r).float(), r.float())
    torch.testing.assert_close(single, expected.float(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("angles", [[0.0], [1e-9], [1e-4, 1e-4], [1.0, 1.0, 2.0], [PI - 1e-6, 0.3], [PI, 0.0]])
def test_geodesic_gradient_is_bounded(angles):
    for dtype in (torch.float32, torch.float64):
        r = planar(angles, dtype).requires_grad_()
        (grad,) = torch.autograd.grad(geodesic(identity_like(r), r), r)
        assert grad.isfinite().all()
        assert torch.linalg.matrix_norm(grad) < 0.5**0.5 + 1e-3


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_geodesic_gradient_is_the_numerical_one_along_the_group(size):
    b = rotations(2, size, seed=1)
    m = gaussian(2, size).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: geodesic(project_to_son(x), b), (m,))
    assert torch.autograd.gradcheck(lambda x: geodesic(b, project_to_son(x)), (m,))


@pytest.mark.long
def test_projection_is_not_slower_than_plain_svd():
    m = gaussian(384, 16, dtype=torch.float32).requires_grad_()
    weight = gaussian(384, 16, seed=1, dtype=torch.float32)
    times: dict[str, list[float]] = {"project_to_son": [], "project_to_son_naive": []}
    for _ in range(15):
        for name, samples in times.items():
            start = time.perf_counter()
            torch.autograd.grad((getattr(rotation, name)(m) * weight).sum(), m)
            samples.append(time.perf_counter() - start)
    ours, plain = (sorted(s)[len(s) // 2] for s in times.values())
    assert ours < 1.5 * plain, f"{ours * 1e3:.1f} ms against {plain * 1e3:.1f} ms"


def test_the_adversary_draws_the_signs_it_promises():
    g = torch.Generator().manual_seed(0)
    for det in (1, -1):
        m = _spectrum(32, torch.ones(5), g, det=det)
        torch.testing.assert_close(torch.linalg.det(m), torch.full((32,), float(det)), atol=1e-4, rtol=0)
