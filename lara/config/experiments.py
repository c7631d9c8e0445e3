"""Experiments as they are named on the command line: families in folders, choices of an experiment, names that changed.

A folder below conf/experiment/ is a family. A folder inside it holds pieces; where an experiment's defaults list one of
them as a group, that is a choice of the experiment, written without its path:

    experiment=hosts/pi05 size=tiny   is   experiment@_global_=hosts/pi05 experiment/hosts/size@_global_=tiny
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lara.errors import ConfigError, nearest

_HOSTS = {
    "pi0": "pi0",
    "pi05": "pi05_libero",
    "groot_n15": "groot_n15",
    "groot_n16": "groot_n16",
    "groot_n17": "groot_n17",
}
_TWINS = {"": "", " twin=lora": "_lora", " twin=base": "_base"}
# what an experiment was called -> what is to be given instead
RENAMED: dict[str, str] = {
    **{f"posttrain_{old}{end}": f"hosts/{new}{twin}" for new, old in _HOSTS.items() for twin, end in _TWINS.items()},
    **{
        f"posttrain_{host}_tiny{end}": f"hosts/{host} size=tiny{twin}"
        for host in (*_HOSTS, "smolvla")
        for twin, end in _TWINS.items()
    },
    "alam_tiny": "alam/tiny",
    "alam_tiny_diffusion": "alam/tiny_transfer generation=diffusion",
    "alam_tiny_transfer": "alam/tiny_transfer",
    "alam_tiny_two_stage": "alam/tiny_transfer generation=two_stage",
    "alam_tiny_without_laws": "alam/tiny stages.lam.laws=none",
    "alam_transfer": "alam/transfer",
    "demo_base": "demo/size/small",
    "demo_blind": "demo/blind",
    "demo_dit_only": "demo/dit_only",
    "demo_frozen_lam": "demo/lara ablation=frozen_lam",
    "demo_lam": "demo/lam",
    "demo_lara": "demo/lara",
    "demo_lara_additive": "demo/lara space=additive",
    "demo_lara_additive_laws": "demo/lara space=additive_laws",
    "demo_lara_rotation": "demo/lara space=rotation",
    "demo_lara_rotation_laws": "demo/lara space=rotation_laws",
    "demo_posttrain": "demo/posttrain",
    "demo_raw_cosine": "demo/lara align=raw_cosine",
    "demo_without_align_loss": "demo/lara ablation=without_align_loss",
    "demo_without_lam_loss": "demo/lara ablation=without_lam_loss",
    "lam_alam": "alam/lam",
    "lam_alam_tiny": "alam/tiny_lam",
    "lam_alam_tiny_discrete": "alam/tiny_lam lam._target_=lara.lam.coded.CodedActionModel",
    "lam_alam_tiny_without_additivity": "alam/tiny_lam stage.weights.lam.composition_relative=null",
    "lam_alam_tiny_without_laws": "alam/tiny_lam laws=none",
    "lam_alam_tiny_without_reversal": "alam/tiny_lam stage.weights.lam.reversal_relative=null",
    "lam_continuous_tiny": "rotvla/tiny_lam_continuous stage.steps=500",
    "lam_discrete_tiny": "demo/lam latent.dim=8 latent.codes=64 lam.queries=8",
    "lam_lara": "lara/lam",
    "lam_lara_tiny": "demo/lam",
    "lam_latbot": "latbot/lam",
    "lam_latbot_tiny": "latbot/tiny_lam",
    "lam_rotvla": "rotvla/lam",
    "lam_rotvla_features": "rotvla/lam lam=rotvla_features",
    "lam_rotvla_tiny": "rotvla/tiny_so3",
    "lam_rotvla_tiny_chunk": "rotvla/tiny_lam",
    "lam_rotvla_tiny_discrete": "rotvla/tiny_lam_discrete",
    "lam_rotvla_tiny_features": "rotvla/tiny_lam lam=patches_features",
    "lam_rotvla_tiny_without_rotation": "rotvla/tiny_lam_continuous",
    "lam_rotvla_tiny_without_triplet": "rotvla/tiny_so3 stage.weights.lam.composed=null",
    "lapa_tiny": "lapa/tiny",
    "lapa_tiny_actions": "lapa/tiny_actions",
    "lapa_tiny_latent": "lapa/tiny_latent",
    "lara_depth_4": "lara/pretrain align.depth=4",
    "lara_depth_8": "lara/pretrain align.depth=8",
    "lara_depth_l": "lara/pretrain align.depth=0",
    "lara_depth_l_2": "lara/pretrain align.depth=-2",
    "lara_dit_only": "lara/dit_only",
    "lara_frozen_lam": "lara/pretrain ablation=frozen_lam",
    "lara_lam_pretrain": "lara/lam",
    "lara_posttrain": "lara/posttrain",
    "lara_pretrain": "lara/pretrain",
    "lara_tiny": "lara/tiny",
    "lara_without_align_loss": "lara/pretrain ablation=without_align_loss",
    "lara_without_lam_loss": "lara/pretrain ablation=without_lam_loss",
    "latbot_distill": "latbot/distill",
    "latbot_finetune": "latbot/finetune",
    "latbot_tiny": "latbot/tiny",
    "latbot_tiny_distill": "latbot/tiny_distill",
    "latbot_tiny_finetune": "latbot/tiny_finetune",
    "moto_tiny": "moto/tiny",
    "moto_tiny_actions": "moto/tiny_actions",
    "moto_tiny_tokens": "moto/tiny_tokens",
    "rotvla_finetune": "rotvla/finetune",
    "rotvla_finetune_without_planner": "rotvla/finetune ablation=without_planner",
    "rotvla_finetune_without_pretraining": "rotvla/finetune init=null",
    "rotvla_pretrain": "rotvla/pretrain",
    "rotvla_tiny": "rotvla/tiny",
    "rotvla_tiny_aligned": "rotvla/tiny_aligned",
    "rotvla_tiny_continuous": "rotvla/tiny_continuous",
    "rotvla_tiny_continuous_finetune": "rotvla/tiny_finetune latent=additive latent.quantizer=null",
    "rotvla_tiny_continuous_pretrain": "rotvla/tiny_pretrain latent=additive latent.quantizer=null",
    "rotvla_tiny_discrete": "rotvla/tiny_discrete",
    "rotvla_tiny_discrete_finetune": "rotvla/tiny_finetune latent=vq latent.codes=64",
    "rotvla_tiny_discrete_pretrain": "rotvla/tiny_pretrain latent=vq latent.codes=64",
    "rotvla_tiny_finetune": "rotvla/tiny_finetune",
    "rotvla_tiny_pretrain": "rotvla/tiny_pretrain",
    "rotvla_tiny_without_planner": "rotvla/tiny_finetune ablation=without_planner",
    "rotvla_tiny_without_pretraining": "rotvla/tiny_finetune init=null",
    "rotvla_tiny_without_triplet": "rotvla/tiny stages.lam.stage.weights.lam.composed=null",
}
_GROUP = re.compile(r"(override )?/experiment/(\w+/(\w+))@_global_")


def experiments(folder: Path) -> list[str]:
    """The experiments below conf/experiment/ (`folder`): "hosts/pi05", ..., but not the pieces that they share."""
    files = [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


def offered(experiment: str, folder: Path) -> dict[str, str]:
    """The choices that an experiment offers -> their folders below conf/experiment/ (`folder`).

    Those are its own ("size" -> "hosts/size" of hosts/pi05) and those of the experiments that it is made from, without
    the ones that it fixes by an override in its defaults.
    """
    found: dict[str, str] = {}
    fixed = set()
    for entry in _defaults(folder / f"{experiment}.yaml"):
        if isinstance(entry, str):
            parent = re.fullmatch(r"/experiment/(\w+/\w+)@_global_", entry)
            found |= offered(parent[1], folder) if parent else {}
            continue
        for key in entry:
            group = _GROUP.fullmatch(key)
            if group and group[1]:
                fixed.add(group[3])
            elif group:
                found[group[3]] = group[2]
    return {choice: place for choice, place in found.items() if choice not in fixed}


def _defaults(path: Path) -> Iterator[str | dict[str, str | None]]:
    import yaml

    if path.is_file():  # hydra says what is missing
        yield from (yaml.safe_load(path.read_text()) or {}).get("defaults", [])


def require_current(experiment: str, folder: Path) -> None:
    """Raises ConfigError, which says the new name, for an experiment that is called otherwise now."""
    if experiment in RENAMED and experiment not in experiments(folder):
        raise ConfigError(f"experiment={experiment} is now experiment={RENAMED[experiment]}")


def in_full(overrides: Sequence[str], folder: Path) -> list[str]:
    """The overrides in hydra's words: an experiment lands at the top of the tree, its choices have their path.

    Args:
        overrides: of a command line, "key=value" each.
        folder: conf/experiment/.
    Raises:
        ConfigError: for an experiment that has another name now, and for a choice that this experiment does not offer.
    """
    names = [o.partition("=")[2] for o in overrides if o.startswith("experiment=")]
    experiment = names[-1] if names else None
    if experiment:
        require_current(experiment, folder)
    own = offered(experiment, folder) if experiment else {}
    choices = {piece.name for piece in folder.glob("*/*") if piece.is_dir()}
    out = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if key == "experiment" and equals:
            out.append(f"experiment@_global_={value}")
        elif key in own and equals:
            out.append(f"experiment/{own[key]}@_global_={value}")
        elif equals and key in choices:
            raise ConfigError(_no_choice(key, value, experiment, folder))
        else:
            out.append(override)
    return out


def _no_choice(key: str, value: str, experiment: str | None, folder: Path) -> str:
    known = experiments(folder)
    having = ", ".join(name for name in known if key in offered(name, folder))
    if experiment is None:
        return f"{key}= chooses within an experiment: {having}; give experiment= as well. {nearest(value, known)}"
    return f"experiment={experiment} has no choice of {key}; these have: {having}"
