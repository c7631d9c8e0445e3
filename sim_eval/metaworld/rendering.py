"""Whether mujoco can draw here, found out by drawing once: it may import, and fail at the first frame."""

from __future__ import annotations

import os
from functools import cache

from lara.errors import MissingExtraError

_EMPTY = "<mujoco><worldbody/></mujoco>"


@cache
def require_rendering() -> None:
    """Draws one frame of an empty world. Raises MissingExtraError naming the Debian packages that are missing."""
    try:
        import mujoco
    except (AttributeError, ImportError, OSError, RuntimeError) as error:
        raise no_rendering(error) from error
    try:
        renderer = mujoco.Renderer(mujoco.MjModel.from_xml_string(_EMPTY), 16, 16)
        renderer.render()
        renderer.close()
    except (AttributeError, OSError, RuntimeError, mujoco.FatalError) as error:
        raise no_rendering(error) from error


def no_rendering(error: BaseException) -> MissingExtraError:
    """The error for a graphics library that is missing; mujoco and PyOpenGL say it in many ways."""
    backend = os.environ.get("MUJOCO_GL", "osmesa")
    return MissingExtraError(
        f"mujoco cannot draw with MUJOCO_GL={backend} ({type(error).__name__}: {error}). For osmesa, without a GPU: "
        "apt-get install libosmesa6 libgl1-mesa-dri (`make install` does it); for a GPU with its driver: MUJOCO_GL=egl"
    )
