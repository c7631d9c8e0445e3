"""Hostile folders by kind. `before` says what each did at commit e3c7189, before this was mended:

    executed   the file that only an attack makes was there, or a command of this program ran
    leaked     a secret of this machine stood in the message or the output
    hung       no answer within eight seconds, or all memory taken
    crashed    an error that is none of ours, with its traceback
    control    refused, or loaded without effect: kept so that it stays so

`python -m tests.security.before FOLDER` asks a checkout again, each case in a process of its own.
"""

import json
import os
import pickle
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

from tests.security import doors
from tests.security.sound import PROTOCOL, RECORD, SECRET, SYSTEM, World, line, sign


@dataclass(frozen=True)
class Case:
    """make: changes a sound world. doors: the ways in that are tried, each alone. harmless: it may load."""

    kind: str
    name: str
    make: Callable[[World], None]
    doors: tuple[Callable[[World], None], ...]
    before: str
    harmless: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "_")


def _config(change: Callable[[dict, World], None]) -> Callable[[World], None]:
    """Changes the run's config.json, its `system` first of all."""

    def make(world: World) -> None:
        config = {"name": "sound", "system": deepcopy(SYSTEM), "data": {"root": "x"}, "embodiments": {"dot": 0}}
        change(config, world)
        (world.step / "config.json").write_text(json.dumps(config))
        sign(world.step)

    return make


def _at(path: str, value: Callable[[World], object]) -> Callable[[World], None]:
    """One value of the system's configuration, by its dotted place."""

    def change(config: dict, world: World) -> None:
        *way, last = path.split(".")
        here = config["system"]
        for name in way:
            here = here[name]
        here[last] = value(world)

    return _config(change)


def _text(path: str, text: str) -> Callable[[World], None]:
    return _at(path, lambda w: text.replace("CANARY", str(w.canary)))


def _record(name: str, content: str | bytes) -> Callable[[World], None]:
    """One file of the checkpoint, with a manifest that fits."""

    def make(world: World) -> None:
        (world.step / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        if name != "manifest.json":
            sign(world.step)

    return make


def _swap(place: Callable[[World], object], make_it: Callable[[str, World], None], *, signed: bool = False):
    """A file replaced by something that is none."""

    def make(world: World) -> None:
        path = str(place(world))
        if os.path.lexists(path):
            os.unlink(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make_it(path, world)
        if signed:
            sign(world.step)

    return make


def _fifo(path: str, world: World) -> None:
    os.mkfifo(path)


def _zeros(path: str, world: World) -> None:
    os.symlink("/dev/zero", path)


def _secret(path: str, world: World) -> None:
    os.symlink(world.secret, path)


def _moto(content: str | bytes, name: str = "config.yaml") -> Callable[[World], None]:
    def make(world: World) -> None:
        (world.root / "moto").mkdir()
        (world.root / "moto" / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def _file(place: str, content: str | bytes) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.parent == world.evaluation:
            sign(world.evaluation, kind="evaluation")
        if path.parent.name == "lam":
            sign(path.parent, kind="export")

    return make


# the writer of files, by the name that it had when it was a target
WRITE = "lara.train.safe_files.write_synced"
CREATE = "${oc.create:{_target_: os.mkdir, path: CANARY}}"
DEEP = "[" * 200_000 + "]" * 200_000
DIGITS = '{"step": ' + "9" * 1_000_000 + "}"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
TAG = "m_former: !!python/object/apply:os.mkdir [CANARY]\n"


class _Gadget:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def _pickled(place: Callable[[World], object], *, signed: bool = False):
    return _swap(place, lambda path, w: _write(path, pickle.dumps(_Gadget(str(w.canary)))), signed=signed)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _safetensors(header: bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


RESOLVERS = [
    Case("resolver", f"create in {path}", _text(path, CREATE), ways, "executed")
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
    Case("resolver", name, _text(path, text), (doors.load_policy,) if path != "lam.queries" else doors.LAM[:1], before)
    for name, path, text, before in (
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
        _at(
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
    Case("own function", name, _at("policy.draws", call), (doors.load_policy,), before)
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
        ("a private function", lambda w: {"_target_": "lara.launch._inherited_statistics", "config": {}}, "control"),
    )
]

TARGETS = [
    Case(
        kind,
        target or "empty",
        _at("policy.draws", lambda w, t=target: {"_target_": t}),
        (doors.load_policy,),
        "control",
    )
    for kind, targets in (
        ("foreign target", ("os.system", "builtins.eval", "subprocess.Popen", "torch.load", "")),
        (
            "attribute walk",
            (
                "lara.errors.difflib.sys.exit",
                "lara.build.importlib.import_module",
                "lara.label.run.shutil.rmtree",
                "lara.latents.vq.VQSpace.__init__.__globals__",
                "lara.config.Path.home",
            ),
        ),
    )
    for target in targets
]

KEYS = [
    Case("special key", name, _at(path, value), (way,), before)
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
        _at(part, lambda w: trusted)(world)

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
    Case("another kind", name, _at("policy.draws", value), (doors.load_policy,), before)
    for name, value, before in (
        ("a tracker", lambda w: {"_target_": "lara.train.tracking.JsonlTracker"}, "control"),
        ("a dataset", lambda w: {"_target_": "lara.data.labels.LatentActions", "root": str(w.videos)}, "control"),
        ("a benchmark", lambda w: {"_target_": "sim_eval.toy.Reach"}, "control"),
        ("a policy that fails", lambda w: {"_target_": "sim_eval.faults.FaultyPolicy", "faults": {}}, "control"),
        ("a class without a mark", lambda w: {"_target_": "lara.nn.mlp.MLP", "width": 4, "hidden": 4}, "control"),
        ("a base class", lambda w: {"_target_": "lara.policy.hosts.pi.Pi"}, "control"),
        ("a class at home elsewhere", lambda w: {"_target_": "lara.serve.load.Checkpoint", "path": "/"}, "control"),
        ("an error", lambda w: {"_target_": "lara.errors.LaraError"}, "control"),
    )
]

SIZES = [
    Case("size", name, _at(path, lambda w, v=value: v), (way,), before)
    for name, path, value, way, before in (
        ("layers without end", "lam.decoder.layers", 10**9, doors.load_lam, "hung"),
        ("blocks without end", "policy.expert.blocks", 10**9, doors.load_policy, "hung"),
        ("a width beyond memory", "policy.expert.width", 10**10, doors.load_policy, "control"),
        ("a width of text", "policy.expert.width", "wide", doors.load_policy, "control"),
        ("a missing part", "policy.expert", None, doors.load_policy, "control"),
    )
]

JSON = [
    Case("json", name, _record(file, content), ways, before)
    for name, file, content, ways, before in (
        ("deep config", "config.json", DEEP, doors.CONFIG, "control"),
        ("deep card", "data.json", DEEP, (doors.load_policy, doors.inherit, doors.go_on), "control"),
        ("a million digits", "train.json", DIGITS, (doors.go_on,), "crashed"),
        ("a million digits in the card", "data.json", DIGITS, (doors.load_policy, doors.inherit), "crashed"),
        ("a million digits in the config", "config.json", DIGITS, (doors.load_policy, doors.label), "crashed"),
        ("a million digits in the manifest", "manifest.json", DIGITS, doors.RECORDS, "crashed"),
        ("infinity", "train.json", '{"step": Infinity}', (doors.go_on,), "crashed"),
        ("not a number", "train.json", '{"step": NaN}', (doors.go_on,), "crashed"),
        ("a number beyond float", "train.json", '{"step": 1e999}', (doors.go_on,), "crashed"),
        ("a name twice", "config.json", '{"system": {}, "system": {}}', (doors.load_policy,), "control"),
        ("a list for an object", "config.json", "[]", (doors.load_policy,), "control"),
        ("a system of text", "config.json", '{"system": "x"}', (doors.load_policy, doors.load_lam), "crashed"),
        ("no system", "config.json", "{}", (doors.load_policy, doors.load_lam, doors.probe), "crashed"),
        ("a card of another kind", "data.json", '{"robot": 1}', (doors.load_policy,), "control"),
        ("not UTF-8", "config.json", b"\xff\xfe{}", (doors.load_policy,), "control"),
        ("no bytes", "config.json", b"", (doors.load_policy,), "control"),
    )
]

FILES = [
    Case(
        "no plain file", "manifest is a pipe", _swap(lambda w: w.step / "manifest.json", _fifo), doors.RECORDS, "hung"
    ),
    Case(
        "no plain file", "manifest never ends", _swap(lambda w: w.step / "manifest.json", _zeros), doors.RECORDS, "hung"
    ),
    Case("no plain file", "latest is a pipe", _swap(lambda w: w.step.parent / "latest", _fifo), doors.POLICY, "hung"),
    Case(
        "no plain file", "latest never ends", _swap(lambda w: w.step.parent / "latest", _zeros), doors.LAM[:2], "hung"
    ),
    Case(
        "no plain file",
        "config is a pipe",
        _swap(lambda w: w.step / "config.json", _fifo, signed=True),
        doors.RECORDS,
        "control",
    ),
    Case("link", "latest is a secret", _swap(lambda w: w.step.parent / "latest", _secret), doors.POLICY[:1], "leaked"),
    Case("link", "manifest is a secret", _swap(lambda w: w.step / "manifest.json", _secret), doors.RECORDS, "control"),
    Case(
        "link",
        "config is a secret",
        _swap(lambda w: w.step / "config.json", _secret, signed=True),
        doors.RECORDS[:1],
        "control",
    ),
    Case(
        "link",
        "records are a secret",
        _swap(lambda w: w.evaluation / "episodes.jsonl", _secret),
        (doors.compare,),
        "leaked",
    ),
    Case(
        "link",
        "moto config is a secret",
        _swap(lambda w: w.root / "moto" / "config.yaml", _secret),
        (doors.import_moto,),
        "leaked",
    ),
    Case(
        "no plain file",
        "moto config is a pipe",
        _swap(lambda w: w.root / "moto" / "config.json", _fifo),
        (doors.import_moto,),
        "control",
    ),
    Case(
        "no plain file",
        "protocol is a pipe",
        _swap(lambda w: w.evaluation / "protocol.json", _fifo),
        (doors.compare,),
        "hung",
    ),
    Case(
        "no plain file",
        "records are a pipe",
        _swap(lambda w: w.evaluation / "episodes.jsonl", _fifo),
        (doors.compare,),
        "hung",
    ),
    Case(
        "no plain file",
        "labels are a pipe",
        _swap(lambda w: w.root / "labels/meta/labels.latent.json", _fifo),
        (doors.labels,),
        "hung",
    ),
    Case(
        "no plain file",
        "dataset is a pipe",
        _swap(lambda w: w.root / "dataset/meta/info.json", _fifo),
        (doors.dataset,),
        "hung",
    ),
    Case(
        "no plain file",
        "dataset never ends",
        _swap(lambda w: w.root / "dataset/meta/info.json", _zeros),
        (doors.dataset,),
        "hung",
    ),
]


def _manifest(name: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        manifest = json.loads((world.step / "manifest.json").read_text())
        manifest["files"][name] = manifest["files"].pop("config.json")
        (world.step / "manifest.json").write_text(json.dumps(manifest))

    return make


TRAVERSAL = [
    Case("traversal", name, make, ways, "control")
    for name, make, ways in (
        ("manifest climbs", _manifest("../config.json"), doors.RECORDS[:2]),
        ("manifest from the root", _manifest("/etc/hostname"), doors.RECORDS[:2]),
        ("latest climbs", _file("run/checkpoints/latest", "../../../secret.txt"), doors.RECORDS[:2]),
        (
            "dataset climbs",
            _file("dataset/meta/info.json", json.dumps({"codebase_version": "v3.0", "data_path": "../../{x}"})),
            (doors.dataset,),
        ),
    )
]

ALIASES = '{"__metadata__": {"aliases": %s}}'
TENSORS = [
    Case("tensors", name, _record("system.safetensors", content), (doors.load_policy, doors.load_lam), before)
    for name, content, before in (
        ("a header longer than the file", _safetensors(b"{}", length=2**62), "control"),
        ("a deep header", _safetensors(DEEP.encode()), "control"),
        (
            "offsets beyond the file",
            _safetensors(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'),
            "control",
        ),
        (
            "a shape that overflows",
            _safetensors(b'{"a":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,0]}}' % (2**40, 2**40)),
            "control",
        ),
        ("aliases that are no names", _safetensors((ALIASES % '"{\\"a\\": []}"').encode()), "crashed"),
        ("deep aliases", _safetensors((ALIASES % json.dumps(DEEP)).encode()), "crashed"),
        ("text", b"not tensors", "control"),
    )
]

PICKLES = [
    Case(
        "pickle",
        "as tensors",
        _pickled(lambda w: w.step / "system.safetensors", signed=True),
        (doors.load_policy,),
        "control",
    ),
    Case(
        "pickle",
        "as averages",
        _pickled(lambda w: w.step / "ema.safetensors", signed=True),
        (doors.load_policy,),
        "control",
    ),
    Case("pickle", "as a pointer", _pickled(lambda w: w.step.parent / "latest"), (doors.load_policy,), "control"),
]

MOTO = [
    Case("moto", name, _moto(content, file), (doors.import_moto,), before)
    for name, content, file, before in (
        ("alias bomb", BOMB, "config.yaml", "hung"),
        ("merge bomb", BOMB.replace("[x, x", "[x, x") + "m_former: *j\n", "config.yaml", "hung"),
        ("a tag that calls", TAG, "config.yaml", "control"),
        ("a tag that imports", "m_former: !!python/name:os.system\n", "config.yaml", "control"),
        ("a tag of a module", "m_former: !!python/module:this\n", "config.yaml", "control"),
        ("deep", "[" * 100_000, "config.yaml", "control"),
        ("deep json", DEEP, "config.json", "control"),
        ("a million digits", '{"m_former": ' + "9" * 1_000_000 + "}", "config.json", "control"),
        ("a number in base sixty", "a: 1" + ":59" * 300_000, "config.yaml", "hung"),
        (
            "a hexadecimal size",
            "m_former: &m {hidden_size: 0x" + "F" * 9000 + "}\ndecoder: *m\nvector_quantizer: {}\n",
            "config.yaml",
            "crashed",
        ),
        ("a foreign class", "_target_: os.system\nm_former: {}\n", "config.yaml", "control"),
        ("a resolver", "m_former: ${oc.create:{_target_: os.mkdir}}\n", "config.yaml", "control"),
    )
]


def _moto_weights(name: str, make_it: Callable[[str, World], None]) -> Callable[[World], None]:
    """A configuration that is read to the end, and weights that are none."""

    def make(world: World) -> None:
        sizes = {"hidden_size": 768, "query_num": 8, "num_attention_heads": 12, "num_hidden_layers": 1}
        sizes |= {"intermediate_size": 768, "patch_size": 16, "encoder_stride": 16, "image_size": 224}
        sizes |= {"input_hidden_size": 768, "num_patches": 197}
        sections = {"m_former": sizes, "decoder": sizes, "vector_quantizer": {"e_dim": 32, "n_e": 128}}
        _moto(json.dumps(sections), "config.json")(world)
        make_it(str(world.root / "moto" / name), world)

    return make


MOTO += [
    Case("moto", "weights are a pipe", _moto_weights("model.safetensors", _fifo), (doors.moto_weights,), "hung"),
    Case(
        "moto", "pickled weights are a pipe", _moto_weights("pytorch_model.bin", _fifo), (doors.moto_weights,), "hung"
    ),
    Case(
        "moto",
        "weights that call",
        _moto_weights("pytorch_model.bin", lambda p, w: _write(p, pickle.dumps(_Gadget(str(w.canary))))),
        (doors.moto_weights,),
        "control",
    ),
]

EVALUATION = [
    Case("evaluation", name, _file(f"evaluation/{file}", content), (doors.compare,), before, harmless)
    for name, file, content, before, harmless in (
        ("deep protocol", "protocol.json", DEEP, "crashed", False),
        ("a million digits", "protocol.json", DIGITS, "crashed", False),
        ("a protocol of lists", "protocol.json", "[]", "crashed", False),
        ("infinite episodes", "protocol.json", json.dumps({**PROTOCOL, "episodes": float("inf")}), "control", False),
        ("deep record", "episodes.jsonl", DEEP + "\n", "crashed", False),
        ("a record of lists", "episodes.jsonl", "[]\n", "control", False),
        ("a record never seen", "episodes.jsonl", line({**RECORD, "episode": 7}), "control", False),
    )
]

DATA = [
    Case("dataset", name, _file(file, content), (way,), before)
    for name, file, content, way, before in (
        ("deep labels", "labels/meta/labels.latent.json", DEEP, doors.labels, "crashed"),
        ("labels of digits", "labels/meta/labels.latent.json", DIGITS, doors.labels, "crashed"),
        ("labels of nothing", "labels/meta/labels.latent.json", "{}", doors.labels, "crashed"),
        ("deep info", "dataset/meta/info.json", DEEP, doors.dataset, "crashed"),
        ("info of digits", "dataset/meta/info.json", DIGITS, doors.dataset, "crashed"),
        ("info of another kind", "dataset/meta/info.json", "[1]", doors.dataset, "control"),
    )
]


def _exported(path: str, value: object) -> Callable[[World], None]:
    """One value of the configuration of an exported LAM."""

    def make(world: World) -> None:
        lam = deepcopy(SYSTEM["lam"])
        *way, last = path.split(".")
        here = lam
        for name in way:
            here = here[name]
        here[last] = value.replace("CANARY", str(world.canary)) if isinstance(value, str) else value
        config = {"name": "sound", "system": {**SYSTEM, "policy": None, "lam": lam}}
        _file("lam/config.json", json.dumps(config))(world)

    return make


EXPORTS = [
    Case("export", name, make, (doors.load_exported_lam,), before)
    for name, make, before in (
        ("create", _exported("queries", CREATE), "executed"),
        ("create in a partial", _exported("decoder.layers", CREATE), "executed"),
        ("foreign target", _exported("queries", {"_target_": "os.getpid"}), "control"),
        ("manifest is a pipe", _swap(lambda w: w.root / "lam" / "manifest.json", _fifo), "hung"),
        ("card of digits", _file("lam/card.json", DIGITS), "crashed"),
        ("a card of nothing", _file("lam/card.json", "{}"), "crashed"),
        ("deep config", _file("lam/config.json", DEEP), "control"),
    )
]

CASES = [
    *EXPORTS,
    *RESOLVERS,
    *OWN,
    *TARGETS,
    *KEYS,
    *REMOTE,
    *KINDS,
    *SIZES,
    *JSON,
    *FILES,
    *TRAVERSAL,
    *TENSORS,
    *PICKLES,
    *MOTO,
    *EVALUATION,
    *DATA,
]
ENVIRONMENT = {"LARA_TEST_HIDDEN": SECRET}
