import pytest

from lara.build import build, check_targets
from lara.errors import ConfigError

FOREIGN = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.run",
    "logging.os.system",
    "torch.load",
    "hydra.utils.get_method",
    "lara.errors.difflib.os.system",
    "lara.errors.difflib.SequenceMatcher",
    "lara.build.importlib.import_module",
    "lara.config.Path",
    "lara.store.checkpoint.os.remove",
    "lara",
    "",
    None,
    ["os.system"],
]


@pytest.mark.parametrize("target", FOREIGN)
def test_foreign_targets_are_refused_at_any_depth(target):
    for config in ({"_target_": target}, {"a": [{"b": {"_target_": target, "_partial_": True}}]}):
        with pytest.raises(ConfigError):
            check_targets(config, ("lara",))


def test_own_classes_are_built_with_overrides():
    space = build({"_target_": "lara.latents.vq.VQSpace", "dim": 4}, codes=8)
    assert (space.dim, space.codes) == (4, 8)
    factory = build({"_target_": "lara.nn.mlp.MLP", "_partial_": True, "width": 4})
    assert factory(hidden=8).up.out_features == 8


def test_a_wrong_name_inside_our_package_says_where():
    with pytest.raises(ConfigError, match=r"policy\.expert.*has no 'FlowExpurt'"):
        build({"policy": {"expert": {"_target_": "lara.policy.expert.FlowExpurt"}}})
