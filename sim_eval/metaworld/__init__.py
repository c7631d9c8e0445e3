"""Meta-World MT50: 50 table-top tasks of one arm; assets and scripted experts come inside its wheel."""

from __future__ import annotations

import os

# mujoco reads this once, when it is first imported, whichever module of this package does that. OSMesa needs no GPU.
os.environ.setdefault("MUJOCO_GL", "osmesa")
