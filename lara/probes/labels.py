"""What people read for the rows of probes. Results and files carry the keys."""

from __future__ import annotations

ROWS = {
    "model": "model",
    "after_bottleneck": "model, after the bottleneck",
    "scene_tokens": "model, scene tokens",
    "motion_tokens": "model, motion tokens",
    "direct": "direct",
    "cumulative": "composed",
    "other_latent": "another clip's latent",
    "uniform_codes": "codes drawn uniformly",
    "copy_frame": "copying the current frame",
    "copy_target": "copying the target",
    "pixel_difference": "pixel difference",
    "current_frame": "the current frame itself",
    "future_frame": "the future frame itself",
    "target_frame": "the target frame itself",
    "nothing": "nothing",
    "queries": "queries",
    "separator": "separator",
}
