"""Orientations as matrices, quaternions, Euler angles and 6 numbers, in numpy and float64 (data is converted once).

matrix:      (..., 3, 3), columns are the body's axes in the base frame.
quaternion:  (..., 4) as x, y, z, w; unit length; w >= 0 on the way out, since q and -q are one orientation.
euler_xyz:   (..., 3) roll, pitch, yaw in radians about the fixed axes x, then y, then z, so that
             R = Rz(yaw) Ry(pitch) Rx(roll); roll, yaw in [-pi, pi], pitch in [-pi/2, pi/2]. At pitch = +-pi/2 only
             roll and yaw together are determined; roll is then 0.
axis_angle:  (..., 3) the axis times the angle in radians; the angle is in [0, pi] on the way out, any on the way in. At
             a half turn both directions of the axis are one orientation.
rot6d:       (..., 6) the first two columns of the matrix, one after the other (Zhou et al. 2019).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lara.errors import DataError

Form = Literal["euler_xyz", "axis_angle", "quaternion_xyzw", "rot6d", "matrix"]
WIDTH: dict[str, int] = {"euler_xyz": 3, "axis_angle": 3, "quaternion_xyzw": 4, "rot6d": 6, "matrix": 9}


def to_matrix(numbers: np.ndarray, form: Form) -> np.ndarray:
    """(..., WIDTH[form]) -> (..., 3, 3); a "matrix" is its 9 numbers row by row, and the nearest rotation to them by
    Gram-Schmidt is returned. Raises DataError for numbers that are no orientation."""
    if form == "matrix":
        return _of_nine(numbers)
    return {
        "euler_xyz": euler_to_matrix,
        "axis_angle": axis_angle_to_matrix,
        "quaternion_xyzw": quaternion_to_matrix,
        "rot6d": rot6d_to_matrix,
    }[form](numbers)


def from_matrix(matrix: np.ndarray, form: Form) -> np.ndarray:
    """Inverse of `to_matrix` up to the choices that this module's first lines name: (..., 3, 3) -> (..., width)."""
    if form == "matrix":
        return np.asarray(matrix, np.float64).reshape(*np.shape(matrix)[:-2], 9)
    return {
        "euler_xyz": matrix_to_euler,
        "axis_angle": matrix_to_axis_angle,
        "quaternion_xyzw": matrix_to_quaternion,
        "rot6d": matrix_to_rot6d,
    }[form](matrix)


def quaternion_to_matrix(quaternion: np.ndarray) -> np.ndarray:
    """Any non-zero length is accepted and normalised. Raises DataError for a zero or non-finite quaternion."""
    x, y, z, w = np.moveaxis(_unit(quaternion, "quaternion", 4), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(matrix: np.ndarray) -> np.ndarray:
    """Inverse of `quaternion_to_matrix` up to sign; accurate at every angle, half turns included."""
    m = np.asarray(matrix, np.float64)
    trace = np.trace(m, axis1=-2, axis2=-1)
    # 4 q q^T, row by row: each row is the quaternion times one of its own entries; the longest row is the safest
    outer = np.empty((*m.shape[:-2], 4, 4))
    for i in range(3):
        for j in range(3):
            outer[..., i, j] = m[..., i, j] + m[..., j, i]
        outer[..., i, i] = 1 + 2 * m[..., i, i] - trace
        a, b = (i + 1) % 3, (i + 2) % 3
        outer[..., i, 3] = outer[..., 3, i] = m[..., b, a] - m[..., a, b]
    outer[..., 3, 3] = 1 + trace
    best = np.diagonal(outer, axis1=-2, axis2=-1).argmax(axis=-1)
    row = np.take_along_axis(outer, best[..., None, None], axis=-2)[..., 0, :]
    unit = _unit(row, "rotation matrix", 4)
    return np.where(unit[..., 3:] < 0, -unit, unit)


def euler_to_matrix(euler: np.ndarray) -> np.ndarray:
    """Any angles are accepted."""
    roll, pitch, yaw = np.moveaxis(_finite(euler, "Euler angles", 3), -1, 0)
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(angle), np.sin(angle)) for angle in (roll, pitch, yaw))
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_euler(matrix: np.ndarray) -> np.ndarray:
    """`euler_to_matrix` of the result is the matrix again, at the poles too."""
    m = np.asarray(matrix, np.float64)
    level = np.hypot(m[..., 0, 0], m[..., 1, 0])
    pole = level < 1e-9
    pitch = np.arctan2(-m[..., 2, 0], level)
    roll = np.where(pole, 0.0, np.arctan2(m[..., 2, 1], m[..., 2, 2]))
    yaw = np.where(pole, np.arctan2(-m[..., 0, 1], m[..., 1, 1]), np.arctan2(m[..., 1, 0], m[..., 0, 0]))
    return np.stack([roll, pitch, yaw], axis=-1)


def axis_angle_to_matrix(axis_angle: np.ndarray) -> np.ndarray:
    """Any angle is accepted, also beyond a half turn."""
    vector = _finite(axis_angle, "axis-angle", 3)
    half = np.linalg.norm(vector, axis=-1, keepdims=True) / 2
    # sinc has the limit at no turn in it: sin(half) / angle = sinc(half / pi) / 2
    return quaternion_to_matrix(np.concatenate([vector * np.sinc(half / np.pi) / 2, np.cos(half)], axis=-1))


def matrix_to_axis_angle(matrix: np.ndarray) -> np.ndarray:
    """Inverse of `axis_angle_to_matrix` for angles below pi; accurate at every angle, none and half turns included."""
    quaternion = matrix_to_quaternion(matrix)
    vector, w = quaternion[..., :3], quaternion[..., 3:]
    sine = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector * np.where(sine < 1e-12, 2.0, 2 * np.arctan2(sine, w) / np.maximum(sine, 1e-12))


def rot6d_to_matrix(rot6d: np.ndarray) -> np.ndarray:
    """Gram-Schmidt on the two columns. Raises DataError if they are zero, parallel or not finite."""
    six = _finite(rot6d, "rot6d", 6)
    first = _unit(six[..., :3], "first rot6d column", 3)
    second = six[..., 3:] - (first * six[..., 3:]).sum(axis=-1, keepdims=True) * first
    second = _unit(second, "second rot6d column", 3)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def matrix_to_rot6d(matrix: np.ndarray) -> np.ndarray:
    m = np.asarray(matrix, np.float64)
    return np.concatenate([m[..., :, 0], m[..., :, 1]], axis=-1)


def _of_nine(numbers: np.ndarray) -> np.ndarray:
    nine = _finite(numbers, "matrix", 9)
    m = nine.reshape(*nine.shape[:-1], 3, 3)
    off = np.abs(m @ np.swapaxes(m, -1, -2) - np.eye(3)).max(initial=0.0)
    if off > 1e-2 or not (np.linalg.det(m) > 0).all():
        raise DataError(
            f"a rotation matrix has orthonormal rows and determinant 1, got rows off by {off:.3g} and determinants "
            f"from {np.linalg.det(m).min():.3g}; its 9 numbers are read row by row"
        )
    return rot6d_to_matrix(matrix_to_rot6d(m))


def _finite(x: np.ndarray, name: str, size: int) -> np.ndarray:
    x = np.asarray(x, np.float64)
    if x.shape[-1] != size or not np.isfinite(x).all():
        raise DataError(
            f"{name} must be {size} finite numbers, got shape {x.shape}, all finite: {np.isfinite(x).all()}"
        )
    return x


def _unit(x: np.ndarray, name: str, size: int) -> np.ndarray:
    x = _finite(x, name, size)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    if (length < 1e-9).any():
        raise DataError(f"{name} of length 0 has no direction; mask such frames out before converting them")
    unit: np.ndarray = x / length
    return unit
