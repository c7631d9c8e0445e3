"""Rotations of N dimensions, SO(N): nearest rotation, two charts, the group's operations, and two distances.

Every function takes (..., N, N), runs with autocast off, and computes in float32, or in float64 when given float64
(rounding a rotation to bfloat16 costs 3e-3 of orthogonality, and LAPACK knows no bfloat16).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lara.ops.precision import full_precision


def project_to_son(matrix: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch N N"]:
    """The rotation nearest to each matrix in Frobenius norm: R = U diag(1, .., 1, det(UV')) V' (RotVLA 001, Eq. 4).

    Defined, with a finite gradient, for every finite matrix whose largest entry is within 1e-30 and 1e30, or 0.
    Where the nearest rotation is not unique (two smallest singular values sum to 0: rank < N - 1, or det < 0 with the
    two tied) it is one of the nearest, and its gradient is bounded instead of infinite. Idempotent. A matrix with a
    non-finite entry gives a matrix of NaN, so that the training loop sees it, and no LAPACK error.

    The gradient is that of _NearestRotation; torch.linalg.svd's own is NaN for equal singular values, that is, at every
    rotation: exactly where an identity anchor drives its input.
    """
    with full_precision(matrix):
        nearest: Tensor = _NearestRotation.apply(_wide(matrix))
        return nearest


def project_to_son_naive(matrix: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch N N"]:
    """The same by plain autograd through torch.linalg.svd: the twin that tests compare with. Its gradient is NaN
    where singular values are equal."""
    with full_precision(matrix):
        u, s, vh = torch.linalg.svd(_wide(matrix))
        flip = torch.ones_like(s)
        flip[..., -1] = torch.linalg.det(u @ vh).detach().sign()
        nearest: Tensor = (u * flip[..., None, :]) @ vh
        return nearest


class _NearestRotation(torch.autograd.Function):
    """With the flip of det folded into the last column of U and the last s, M = U diag(s) V' and R = U V':

        dL/dM = U [ (B - B') / (s_i + s_j) ] V',   B = U' (dL/dR) V

    It needs sums of singular values only, no differences, so equal ones do no harm.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        # R(M / c) = R(M): with the largest entry c at 1 nothing over- or underflows inside the SVD. The derivative
        # along the scale is 0, so dividing the gradient by c is exact although c depends on M.
        scale = matrix.abs().flatten(-2).amax(-1)[..., None, None]
        finite = scale.isfinite()
        scale = torch.where(finite & (scale > 0), scale, torch.ones_like(scale))
        u, s, vh = torch.linalg.svd(torch.where(finite, matrix, eye) / scale)
        flip = torch.ones_like(s)
        flip[..., -1] = torch.linalg.det(u @ vh).sign()
        u, s = u * flip[..., None, :], s * flip
        ctx.save_for_backward(u, s, vh, scale)
        nearest: Tensor = (u @ vh) * torch.where(finite, torch.ones_like(scale), torch.nan)
        return nearest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        u, s, vh, scale = ctx.saved_tensors
        with full_precision(grad):
            b = u.mT @ grad @ vh.mT
            # s is computed with an error of about N * epsilon * s_max, and s_max <= N * (largest entry = 1): a smaller
            # sum is rounding noise, and dividing by it would turn noise into gradient. (On the diagonal, where s may be
            # negative, the numerator is 0.)
            floor = 8 * s.shape[-1] * torch.finfo(s.dtype).eps
            sums = (s[..., :, None] + s[..., None, :]).clamp(min=floor)
            gradient: Tensor = u @ ((b - b.mT) / (sums * scale)) @ vh
            return gradient


def cayley(matrix: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch N N"]:
    """(I - A/2)^-1 (I + A/2), A = (M - M')/2: a chart of SO(N) without SVD. No rotation with an angle of pi is reached.

    Agrees with `skew_exponential` to second order in A. A chart, not a projection: it is not idempotent. Meant for
    entries up to about 1e3; beyond, rounding in the solve eats orthogonality. Call backward() outside autocast, as
    torch advises: the gradient is plain autograd's.
    """
    with full_precision(matrix):
        skew = _skew(_wide(matrix))
        eye = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device).expand_as(skew)
        rotation: Tensor = torch.linalg.solve(eye - skew / 2, eye + skew / 2)
        return rotation


def skew_exponential(matrix: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch N N"]:
    """exp(A), A = (M - M')/2: the group's exponential map; covers all of SO(N), each rotation infinitely often.

    A chart, not a projection: it is not idempotent. Meant for entries up to about 1e2 (scaling and squaring loses a bit
    of orthogonality with every doubling).
    """
    with full_precision(matrix):
        rotation: Tensor = torch.linalg.matrix_exp(_skew(_wide(matrix)))
        return rotation


def compose(r_ab: Float[Tensor, "*#batch N N"], r_bc: Float[Tensor, "*#batch N N"]) -> Float[Tensor, "*#batch N N"]:
    """R_ab R_bc, broadcast over the batch: time runs from left to right."""
    with full_precision(r_ab):
        return _wide(r_ab) @ _wide(r_bc)


def inverse(r_ab: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch N N"]:
    """R', which is the inverse of a rotation (and only of a rotation)."""
    return r_ab.mT


def identity_like(r: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch N N"]:
    """I, in the shape, type and place of r."""
    return torch.eye(r.shape[-1], dtype=r.dtype, device=r.device).expand_as(r)


def geodesic(a: Float[Tensor, "*#batch N N"], b: Float[Tensor, "*#batch N N"]) -> Float[Tensor, "*#batch"]:
    """Angle norm |log(a'b)|_F / sqrt(2) = sqrt(sum of theta_k^2 over the planes of a'b), in radians, >= 0.

    For N = 2, 3 it is the angle between a and b. Invariant to rotating both from the left or the right. Accurate near 0
    and near pi, with a gradient of norm 1/sqrt(2) everywhere but at 0 (where it is 0) and across theta = pi (where the
    distance has a kink). a and b must be rotations; they broadcast.
    """
    with full_precision(a):
        distance: Tensor = _AngleNorm.apply(_wide(a).mT @ _wide(b))
        return distance


def frobenius(a: Float[Tensor, "*#batch N N"], b: Float[Tensor, "*#batch N N"]) -> Float[Tensor, "*#batch"]:
    """|a - b|_F, broadcast over the batch, in [0, 2 sqrt(N)] for rotations; gradient 0 where a = b."""
    with full_precision(a):
        distance: Tensor = torch.linalg.vector_norm(_wide(a) - _wide(b), dim=(-2, -1))
        return distance


class _AngleNorm(torch.autograd.Function):
    """Symmetric part S and skew part K of a rotation commute; where S v = cos(theta) v for a unit v, |K v| is
    sin(theta). atan2 of the two is accurate at both ends, where acos or asin alone is not. Vectors that mix planes
    of nearly equal cosine do no harm, because the sum of |K v|^2 over them is what counts.

    The gradient is written out, R log(R) / (2 d), because every eigenvalue of S is double, and eigh's own backward
    divides by differences of eigenvalues.
    """

    @staticmethod
    def forward(ctx: Any, r: Tensor) -> Tensor:
        cos, v = torch.linalg.eigh((r + r.mT) / 2)
        kv = _skew(r) @ v
        sin = torch.linalg.vector_norm(kv, dim=-2)
        theta = torch.atan2(sin, cos)
        distance = torch.sqrt(theta.square().sum(-1) / 2)
        # theta / sin -> 1 at 0; where sin is 0 at theta = pi the column of kv is 0 as well
        ratio = torch.where(sin > 0, theta / sin.clamp(min=torch.finfo(r.dtype).tiny), torch.ones_like(sin))
        ctx.save_for_backward(r, (kv * ratio[..., None, :]) @ v.mT, distance)
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        r, log, distance = ctx.saved_tensors
        with full_precision(r):
            slope = torch.where(distance > 0, grad / (2 * distance), torch.zeros_like(grad))
            gradient: Tensor = slope[..., None, None] * (r @ log)
            return gradient


def _skew(matrix: Tensor) -> Tensor:
    return (matrix - matrix.mT) / 2


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.dtype == torch.float64 else matrix.float()
