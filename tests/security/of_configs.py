"""Configurations that would have something run, or be told, or never end."""

import json
from collections.abc import Callable

from tests.security import doors
from tests.security.case import (
    CREATE,
    WRITE,
    Case,
    at,
    text,
)
from tests.security.sound import World

RESOLVERS = [
    Case("resolver", f"create in {path}", text(path, CREATE), ways, "executed")
    for path, ways in (
        ("policy.draws", doors.POLICY),
        ("policy.backbone.width", (doors.load_policy,)),
        ("policy.expert.horizon", (doors.load_policy,)),
        ("lam.queries", doors.LAM),
        ("lam.encoder.patch", (doors.load_lam,)),
        ("lam.decoder.layers", (doors.load_lam,)),
        ("lam.space.codes", (doors.load_lam,)),
        ("objective", (doors.load_policy, doors.load_lam)),
    )
]
RESOLVERS += [
    Case("resolver", name, text(path, given), (doors.load_policy,) if path != "lam.queries" else doors.LAM[:1], before)
    for name, path, given, before in (
        ("create inside text", "policy.draws", f"a {CREATE}", "control"),
        ("create in select", "policy.draws", "${oc.select:nothing," + CREATE + "}", "executed"),
        ("decode", "policy.draws", '${oc.decode:"{_target_: os.mkdir, path: CANARY}"}', "control"),
        (
            "decode in create",
            "lam.queries",
            '${oc.create:${oc.decode:"{_target_: os.mkdir, path: CANARY}"}}',
            "executed",
        ),
        ("environment in a number", "policy.backbone.width", "${oc.env:LARA_TEST_HIDDEN}", "control"),
        ("environment in create", "policy.draws", "${oc.create:{a: '${oc.env:LARA_TEST_HIDDEN}'}}", "control"),
        ("reference to a sibling", "policy.draws", "${.backbone.views}", "control"),
        ("target by environment", "policy._target_", "${oc.env:LARA_TEST_HIDDEN}", "control"),
        ("target by decode", "policy._target_", "${oc.decode:os.mkdir}", "control"),
        ("unknown resolver", "policy.draws", "${nothing:x}", "crashed"),
    )
]
RESOLVERS.append(
    Case(
        "resolver",
        "environment in a name",
        at(
            "lam.encoder",
            lambda w: {
                "_target_": "lara.lam.encoders.timm_vit.TimmEncoder",
                "name": "${oc.env:LARA_TEST_HIDDEN}",
                "weights": "random",
            },
        ),
        (doors.load_lam, doors.export_lam),
        "leaked",
    )
)

OWN = [
    Case("own function", name, at("policy.draws", call), (doors.load_policy,), before)
    for name, call, before in (
        (
            "write a file",
            lambda w: {"_target_": WRITE, "path": str(w.canary), "content": "x"},
            "executed",
        ),
        (
            "start a command",
            lambda w: {
                "_target_": "lara.cli.main",
                "argv": ["export", "lam", f"checkpoint={w.run}", f"output={w.canary}"],
            },
            "executed",
        ),
        (
            "start a command by its module",
            lambda w: {
                "_target_": "lara.commands.export.main",
                "arguments": ["lam", f"checkpoint={w.run}", f"output={w.canary}"],
            },
            "executed",
        ),
        (
            "a method",
            lambda w: {"_target_": "lara.data.card.DataCard.to_json", "self": 1},
            "control",
        ),
        (
            "the writer of today",
            lambda w: {"_target_": "lara.store.files.write_new", "path": str(w.canary), "content": "x"},
            "control",
        ),
        ("a private function", lambda w: {"_target_": "lara.launch._inherited_statistics", "config": {}}, "control"),
    )
]

TARGETS = [
    Case(
        kind,
        target or "empty",
        at("policy.draws", lambda w, t=target: {"_target_": t}),
        (doors.load_policy,),
        "control",
    )
    for kind, targets in (
        ("foreign target", ("os.system", "builtins.eval", "subprocess.Popen", "torch.load", "")),
        (
            "attribute walk",
            (
                "lara.errors.difflib.sys.exit",
                "lara.config.build.importlib.import_module",
                "lara.label.run.shutil.rmtree",
                "lara.latents.vq.VQSpace.__init__.__globals__",
                "lara.config.compose.Path.home",
            ),
        ),
    )
    for target in targets
]

KEYS = [
    Case("special key", name, at(path, value), (way,), before)
    for name, path, value, way, before in (
        (
            "args of a function",
            "policy.draws",
            lambda w: {"_target_": WRITE, "_args_": [str(w.canary), "x"]},
            doors.load_policy,
            "executed",
        ),
        ("args of a class", "lam.space._args_", lambda w: [1], doors.load_lam, "control"),
        ("not recursive", "policy._recursive_", lambda w: False, doors.load_policy, "control"),
        ("converted to objects", "policy._convert_", lambda w: "object", doors.load_policy, "control"),
        ("the system as a partial", "_partial_", lambda w: True, doors.load_policy, "crashed"),
        ("partial as text", "policy._partial_", lambda w: "yes", doors.load_policy, "crashed"),
        ("a target that is a list", "policy._target_", lambda w: ["os.system"], doors.load_policy, "control"),
        (
            "a target that is an object",
            "policy._target_",
            lambda w: {"_target_": "os.system"},
            doors.load_policy,
            "control",
        ),
    )
]

PIN = "0" * 40


def _remote(part: str, target: str, **settings) -> Callable[[World], None]:
    """A model that brings code along, trusted by the stranger's own configuration."""

    def make(world: World) -> None:
        folder = world.root / "hub"
        folder.mkdir()
        auto = {name: f"code.{name}" for name in ("AutoConfig", "AutoProcessor", "AutoModelForImageTextToText")}
        (folder / "config.json").write_text(json.dumps({"model_type": "of-a-stranger", "auto_map": auto}))
        for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
            (folder / name).write_text(json.dumps({"auto_map": auto, "processor_class": "x"}))
        (folder / "code.py").write_text(f"import os\nos.makedirs({str(world.canary)!r}, exist_ok=True)\n")
        trusted = {"_target_": target, "path": str(folder), "revision": PIN, "trust_remote_code": True, **settings}
        at(part, lambda w: trusted)(world)

    return make


REMOTE = [
    Case(
        "remote code",
        "backbone",
        _remote("policy.backbone", "lara.policy.backbones.huggingface.HuggingFaceBackbone"),
        (doors.load_policy, doors.export_policy),
        "executed",
    ),
    Case(
        "remote code",
        "former",
        _remote("lam.former", "lara.lam.formers.vlm.VLMFormer", dim=4),
        (doors.load_lam, doors.label),
        "executed",
    ),
    Case(
        "remote code",
        "eagle",
        _remote("policy.backbone", "lara.policy.hosts.groot.eagle.EagleBackbone", select_layer=1, named="model"),
        (doors.load_policy,),
        "executed",
    ),
]

KINDS = [
    Case("another kind", name, at("policy.draws", value), (doors.load_policy,), before)
    for name, value, before in (
        ("a tracker", lambda w: {"_target_": "lara.train.tracking.JsonlTracker"}, "control"),
        (
            "a dataset",
            lambda w: {"_target_": "lara.data.actions.latent.LatentActions", "root": str(w.videos)},
            "control",
        ),
        ("a benchmark", lambda w: {"_target_": "sim_eval.toy.Reach"}, "control"),
        ("a policy that fails", lambda w: {"_target_": "sim_eval.faults.FaultyPolicy", "faults": {}}, "control"),
        ("a class without a mark", lambda w: {"_target_": "lara.nn.mlp.MLP", "width": 4, "hidden": 4}, "control"),
        ("a base class", lambda w: {"_target_": "lara.policy.hosts.pi.Pi"}, "control"),
        ("a class at home elsewhere", lambda w: {"_target_": "lara.serve.load.Checkpoint", "path": "/"}, "control"),
        ("an error", lambda w: {"_target_": "lara.errors.LaraError"}, "control"),
    )
]

SIZES = [
    Case("size", name, at(path, lambda w, v=value: v), (way,), before)
    for name, path, value, way, before in (
        ("layers without end", "lam.decoder.layers", 10**9, doors.load_lam, "hung"),
        ("blocks without end", "policy.expert.blocks", 10**9, doors.load_policy, "hung"),
        ("a width beyond memory", "policy.expert.width", 10**10, doors.load_policy, "control"),
        ("a width of text", "policy.expert.width", "wide", doors.load_policy, "control"),
        ("a missing part", "policy.expert", None, doors.load_policy, "control"),
    )
]
