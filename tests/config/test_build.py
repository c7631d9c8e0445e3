import ast
import functools
import importlib
import sys
import types
from pathlib import Path
from typing import ClassVar, get_args

import pytest
import yaml

from lara.config.build import Kind, build, buildable_class
from lara.config.compose import config_folder
from lara.config.trust import OWN_PACKAGES, Trust, take_trust, trusted, trusting
from lara.errors import CheckpointError, ConfigError

ROOT = Path(__file__).parent.parent.parent
FOREIGN = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.run",
    "logging.os.system",
    "torch.load",
    "torch.nn.Linear",
    "hydra.utils.get_method",
    "lara.errors.difflib.os.system",
    "lara.errors.difflib.sys.exit",
    "lara.errors.difflib.SequenceMatcher",
    "lara.config.build.importlib.import_module",
    "lara.config.compose.Path",
    "lara.store.checkpoint.os.remove",
    "lara",
    "lara.config.build",
    "",
    None,
    ["os.system"],
    {"_target_": "lara.latents.vq.VQSpace"},
]
NOT_MARKED = [
    "lara.cli.main",  # functions of ours
    "lara.store.files.replace_file",
    "lara.policies.run.run_all",
    "lara.losses.flow.velocity_mse",
    "lara.nn.mlp.MLP",  # a class without the mark
    "lara.policy.hosts.pi.model.Pi",
    "lara.systems.lara.Alignment",  # marked, but at home elsewhere
    "lara.config.build.ConfigError",
    "lara.lam.model.LatentActionModel.forward",
    "lara.latents.vq.VQSpace.__init__",
    "lara.latents.vq.__builtins__",
    "lara.policy.hosts.pi.model._load",
]
VQ = {"_target_": "lara.latents.vq.VQSpace", "dim": 4, "codes": 8}
# buildable, and a value of no file of conf/: an option that a comment there offers, what `lara import` writes down, and
# policies that fail on purpose
ONLY_FROM_CODE = {
    "lara.lam.moto.MotoEncoder",
    "lara.lam.moto.MotoFormer",
    "lara.lam.moto.MotoDecoder",
    "lara.latents.moto_vq.MotoVQSpace",
    "sim_eval.faults.FaultyPolicy",
    "sim_eval.faults.FaultyDemonstrator",
}


@pytest.mark.parametrize("target", FOREIGN + NOT_MARKED)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_nothing_but_marked_classes_is_built_at_any_depth(target, kind):
    for config in ({"_target_": target}, {"a": [{"b": {"_target_": target, "_partial_": True}}]}):
        with pytest.raises(ConfigError):
            build(config, kind)


def test_own_classes_are_built_with_overrides():
    space = build({"_target_": "lara.latents.vq.VQSpace", "dim": 4}, codes=8)
    assert (space.dim, space.codes) == (4, 8)
    factory = build({"_target_": "lara.latents.vq.VQSpace", "_partial_": True, "dim": 4})
    assert isinstance(factory, functools.partial)
    assert factory(codes=8).codes == 8
    assert build(None) is None
    assert build({"a": [1, {"b": "x"}]}) == {"a": [1, {"b": "x"}]}


def test_a_wrong_name_inside_our_package_says_where():
    with pytest.raises(ConfigError, match=r"policy\.expert.*has no 'FlowExpurt'.*'FlowExpert'"):
        build({"policy": {"expert": {"_target_": "lara.policy.expert.FlowExpurt"}}})
    with pytest.raises(ConfigError, match=r"no module 'lara\.policy\.expurt'"):
        build({"_target_": "lara.policy.expurt.FlowExpert"})


def test_wrong_arguments_are_named_with_their_place():
    with pytest.raises(ConfigError, match=r"a\[0\].*VQSpace takes no 'code'.*'codes'"):
        build({"a": [{"_target_": "lara.latents.vq.VQSpace", "dim": 4, "code": 8}]})
    with pytest.raises(ConfigError, match=r"PatchEncoder needs image_size, patch, width too"):
        build({"_target_": "lara.lam.encoders.patches.PatchEncoder"})
    with pytest.raises(ConfigError, match=r"dim \(of VQSpace\) is a whole number, got text: 'four'"):
        build({**VQ, "dim": "four"})
    with pytest.raises(ConfigError, match=r"\(top\).*PatchEncoder could not be made: \w+Error"):
        build({"_target_": "lara.lam.encoders.patches.PatchEncoder", "image_size": 32, "patch": 8, "width": -3})
    with pytest.raises(ConfigError, match="plain data, got PosixPath"):
        build({**VQ, "dim": Path("x")})


@pytest.mark.parametrize("key", ["_args_", "_recursive_", "_convert_", "_self_", "_x_", "__init__"])
def test_no_other_key_has_a_meaning_of_its_own(key):
    with pytest.raises(ConfigError, match=key):
        build({**VQ, key: ["x"]})
    with pytest.raises(ConfigError, match="_partial_"):
        build({"a": {"_partial_": True}})


def test_text_is_never_interpreted():
    text = "${oc.create:{_target_:lara.latents.vq.VQSpace}}"
    assert build({"a": text, "b": ["${oc.env:HOME}", "${a}"]}) == {"a": text, "b": ["${oc.env:HOME}", "${a}"]}


def test_a_class_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match=r"system\.tracker.*kind 'model'.*'run'"):
        build({"system": {"tracker": {"_target_": "lara.train.tracking.JsonlTracker"}}}, "model")
    with pytest.raises(ConfigError, match="the kinds of buildable classes are"):
        build(VQ, "anything")  # type: ignore[arg-type]


@pytest.fixture
def lab(monkeypatch):
    """A package of a lab: a marked class, one that inherits the mark, one that fails with an error of ours."""

    class Marked:
        buildable: ClassVar[str] = "model"

        def __init__(self, size: int = 1) -> None:
            if size < 0:
                raise CheckpointError("a size below zero")
            self.size = size

    class Inherits(Marked):
        pass

    lab, module = types.ModuleType("my_lab"), types.ModuleType("my_lab.parts")
    lab.__path__ = []
    for made in (Marked, Inherits):
        made.__module__ = "my_lab.parts"
        setattr(module, made.__name__, made)
    monkeypatch.setitem(sys.modules, "my_lab", lab)
    monkeypatch.setitem(sys.modules, "my_lab.parts", module)
    return {"_target_": "my_lab.parts.Marked"}


def test_a_labs_package_is_admitted_by_the_command_line_or_the_caller_only(lab):
    with pytest.raises(ConfigError, match="foreign"):
        build(lab)
    assert build(lab, packages=("my_lab",), size=2).size == 2
    trust, rest = take_trust(["a=1", "--allow-package", "my_lab", "--trust-remote-code", "b=2"])
    assert (trust, rest) == (Trust(("my_lab",), remote_code=True), ["a=1", "b=2"])
    with trusting(trust):
        assert build(lab).size == 1
        with pytest.raises(ConfigError, match="marked as buildable"):
            build({"_target_": "my_lab.parts.Inherits"})
        with pytest.raises(ConfigError, match="kind 'data'"):
            build(lab, "data")
    assert trusted() == Trust()
    with pytest.raises(ConfigError, match="foreign"):
        build({**lab, "packages": ["my_lab"]})
    for wrong in (["--allow-package"], ["--allow-package=a.b"], ["--allow-package", ""]):
        with pytest.raises(ConfigError, match="--allow-package takes the name"):
            take_trust(wrong)


def test_our_own_errors_come_through_unwrapped(lab):
    with pytest.raises(CheckpointError, match="below zero"):
        build({**lab, "size": -1}, packages=("my_lab",))


def _marked():
    """ "package.module.Class" of every class of this project whose body carries a mark."""
    for package in OWN_PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                lines = node.body if isinstance(node, ast.ClassDef) else []
                if any(isinstance(x, ast.AnnAssign) and getattr(x.target, "id", "") == "buildable" for x in lines):
                    yield ".".join([*path.relative_to(ROOT).with_suffix("").parts, node.name])


def _named(config):
    if isinstance(config, dict):
        if "_target_" in config:
            yield config["_target_"]
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _named(value)


def test_the_marked_classes_are_those_that_conf_names():
    named = {n for path in config_folder().rglob("*.yaml") for n in _named(yaml.safe_load(path.read_text()))}
    marked = set(_marked())
    assert named | ONLY_FROM_CODE == marked
    assert not named & ONLY_FROM_CODE
    for target in sorted(marked):
        module, _, name = target.rpartition(".")
        mark = vars(getattr(importlib.import_module(module), name))["buildable"]
        assert buildable_class(target, mark).__name__ == name
