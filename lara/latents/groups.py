"""Latent spaces that are groups: two steps make one, a step can be taken back, and standing still is an element.

SO(N): matmul, transpose, I (RotVLA 001).   R^D: +, -, 0 (ALAM 004).
The operation belongs to the space; that latents obey it is a loss (losses.group).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Group(Protocol):
    """z_ab is what happens between frame a and frame b; every z is (..., Q, D).

    compose():  z_ac from z_ab and z_bc. Associative; the earlier step stands left.
    inverse():  z_ba from z_ab.
    identity(): what happens between a frame and itself, in the shape of `like`. A two-sided unit of compose.
    """

    def compose(self, z_ab: Tensor, z_bc: Tensor) -> Tensor: ...

    def inverse(self, z_ab: Tensor) -> Tensor: ...

    def identity(self, like: Tensor) -> Tensor: ...
