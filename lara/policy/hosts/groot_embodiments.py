"""Which embodiment slot of a released GR00T checkpoint belongs to which robot (facts: NVIDIA Isaac-GR00T; `data.slot`).

A checkpoint's own embodiment_id.json decides where it differs. "new_embodiment" is the slot to fine-tune a robot that
the checkpoint does not know.
"""

from __future__ import annotations

from lara.errors import ConfigError, nearest

SLOTS: dict[str, dict[str, int]] = {
    "n15": {"oxe_droid": 17, "gr1": 24, "agibot_genie1": 26, "new_embodiment": 31},
    "n16": {
        "oxe_google": 0,
        "oxe_widowx": 1,
        "libero_panda": 2,
        "unitree_g1": 8,
        "new_embodiment": 10,
        "robocasa_panda_omron": 13,
        "oxe_droid": 16,
        "gr1": 20,
        "behavior_r1_pro": 24,
    },
    "n17": {
        "simpler_env_google": 0,
        "simpler_env_widowx": 1,
        "libero_sim": 2,
        "new_embodiment": 10,
        "robocasa_panda_omron": 10,
        "robocasa_gr1_tabletop": 10,
        "unitree_g1_sonic": 11,
        "oxe_droid_relative_eef_relative_joint": 24,
        "real_g1_relative_eef_relative_joints": 25,
        "unitree_g1_full_body_with_waist_height_nav_cmd": 25,
        "real_r1_pro_sharpa_relative_eef": 26,
        "real_r1_pro_sharpa_relative_eef_human": 26,
        "real_r1_pro_sharpa_relative_eef_maxinsights": 26,
        "real_r1_pro_sharpa_relative_eef_mecka": 26,
        "xdof_relative_eef_relative_joint": 27,
        "xdof_relative_eef_relative_joint_subtask": 27,
    },
}


def slot(version: str, tag: str) -> int:
    """The slot of a robot in "n15", "n16" or "n17". Raises ConfigError for another version or tag."""
    if version not in SLOTS:
        raise ConfigError(f"GR00T version '{version}' has no slot table. {nearest(version, SLOTS)}")
    if tag not in SLOTS[version]:
        raise ConfigError(f"GR00T {version} has no slot for '{tag}'. {nearest(tag, SLOTS[version])}")
    return SLOTS[version][tag]
