"""Files that are not what they seem, and exports, released tokenizers, evaluations and datasets with such files."""

import json
import pickle
from collections.abc import Callable
from copy import deepcopy

from tests.security import doors
from tests.security.case import (
    BOMB,
    CREATE,
    DEEP,
    DIGITS,
    TAG,
    Case,
    Gadget,
    fifo,
    file,
    moto,
    pickled,
    record,
    safetensors,
    secret,
    swap,
    write,
    zeros,
)
from tests.security.sound import PROTOCOL, RECORD, SYSTEM, World, card, line

CARD = (doors.load_policy, doors.inherit)


def with_actions(actions: dict) -> str:
    """A data card that is sound but for how it says that actions are represented."""
    return json.dumps({"embodiments": {"dot": {**card(), "actions": actions}}})


JSON = [
    Case("json", name, record(place, content), ways, before)
    for name, place, content, ways, before in (
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
        ("a card whose actions are a function", "data.json", with_actions({"_target_": "os.system"}), CARD, "control"),
        (
            "a card whose actions are a dataset",
            "data.json",
            with_actions({"_target_": "lara.data.dataset.Dataset", "root": "/etc"}),
            CARD,
            "control",
        ),
        (
            "a card whose actions are of digits",
            "data.json",
            with_actions({"_target_": "lara.data.actions.relative.RelativeActions", "state": {"x": 7}}),
            CARD,
            "control",
        ),
        ("not UTF-8", "config.json", b"\xff\xfe{}", (doors.load_policy,), "control"),
        ("no bytes", "config.json", b"", (doors.load_policy,), "control"),
    )
]

FILES = [
    Case("no plain file", "manifest is a pipe", swap(lambda w: w.step / "manifest.json", fifo), doors.RECORDS, "hung"),
    Case(
        "no plain file", "manifest never ends", swap(lambda w: w.step / "manifest.json", zeros), doors.RECORDS, "hung"
    ),
    Case("no plain file", "latest is a pipe", swap(lambda w: w.step.parent / "latest", fifo), doors.POLICY, "hung"),
    Case("no plain file", "latest never ends", swap(lambda w: w.step.parent / "latest", zeros), doors.LAM[:2], "hung"),
    Case(
        "no plain file",
        "config is a pipe",
        swap(lambda w: w.step / "config.json", fifo, signed=True),
        doors.RECORDS,
        "control",
    ),
    Case("link", "latest is a secret", swap(lambda w: w.step.parent / "latest", secret), doors.POLICY[:1], "leaked"),
    Case("link", "manifest is a secret", swap(lambda w: w.step / "manifest.json", secret), doors.RECORDS, "control"),
    Case(
        "link",
        "config is a secret",
        swap(lambda w: w.step / "config.json", secret, signed=True),
        doors.RECORDS[:1],
        "control",
    ),
    Case(
        "link",
        "records are a secret",
        swap(lambda w: w.evaluation / "episodes.jsonl", secret),
        (doors.compare,),
        "leaked",
    ),
    Case(
        "link",
        "moto config is a secret",
        swap(lambda w: w.root / "moto" / "config.yaml", secret),
        (doors.import_moto,),
        "leaked",
    ),
    Case(
        "no plain file",
        "moto config is a pipe",
        swap(lambda w: w.root / "moto" / "config.json", fifo),
        (doors.import_moto,),
        "control",
    ),
    Case(
        "no plain file",
        "protocol is a pipe",
        swap(lambda w: w.evaluation / "protocol.json", fifo),
        (doors.compare,),
        "hung",
    ),
    Case(
        "no plain file",
        "records are a pipe",
        swap(lambda w: w.evaluation / "episodes.jsonl", fifo),
        (doors.compare,),
        "hung",
    ),
    Case(
        "no plain file",
        "labels are a pipe",
        swap(lambda w: w.root / "labels/meta/labels.latent.json", fifo),
        (doors.labels,),
        "hung",
    ),
    Case(
        "no plain file",
        "dataset is a pipe",
        swap(lambda w: w.root / "dataset/meta/info.json", fifo),
        (doors.dataset,),
        "hung",
    ),
    Case(
        "no plain file",
        "dataset never ends",
        swap(lambda w: w.root / "dataset/meta/info.json", zeros),
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
        ("latest climbs", file("run/checkpoints/latest", "../../../secret.txt"), doors.RECORDS[:2]),
        (
            "dataset climbs",
            file("dataset/meta/info.json", json.dumps({"codebase_version": "v3.0", "data_path": "../../{x}"})),
            (doors.dataset,),
        ),
    )
]

ALIASES = '{"__metadata__": {"aliases": %s}}'
TENSORS = [
    Case("tensors", name, record("system.safetensors", content), (doors.load_policy, doors.load_lam), before)
    for name, content, before in (
        ("a header longer than the file", safetensors(b"{}", length=2**62), "control"),
        ("a deep header", safetensors(DEEP.encode()), "control"),
        (
            "offsets beyond the file",
            safetensors(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'),
            "control",
        ),
        (
            "a shape that overflows",
            safetensors(b'{"a":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,0]}}' % (2**40, 2**40)),
            "control",
        ),
        ("aliases that are no names", safetensors((ALIASES % '"{\\"a\\": []}"').encode()), "crashed"),
        ("deep aliases", safetensors((ALIASES % json.dumps(DEEP)).encode()), "crashed"),
        ("text", b"not tensors", "control"),
    )
]

PICKLES = [
    Case(
        "pickle",
        "as tensors",
        pickled(lambda w: w.step / "system.safetensors", signed=True),
        (doors.load_policy,),
        "control",
    ),
    Case(
        "pickle",
        "as averages",
        pickled(lambda w: w.step / "ema.safetensors", signed=True),
        (doors.load_policy,),
        "control",
    ),
    Case("pickle", "as a pointer", pickled(lambda w: w.step.parent / "latest"), (doors.load_policy,), "control"),
]

MOTO = [
    Case("moto", name, moto(content, file), (doors.import_moto,), before)
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
        moto(json.dumps(sections), "config.json")(world)
        make_it(str(world.root / "moto" / name), world)

    return make


MOTO += [
    Case("moto", "weights are a pipe", _moto_weights("model.safetensors", fifo), (doors.moto_weights,), "hung"),
    Case("moto", "pickled weights are a pipe", _moto_weights("pytorch_model.bin", fifo), (doors.moto_weights,), "hung"),
    Case(
        "moto",
        "weights that call",
        _moto_weights("pytorch_model.bin", lambda p, w: write(p, pickle.dumps(Gadget(str(w.canary))))),
        (doors.moto_weights,),
        "control",
    ),
]

EVALUATION = [
    Case("evaluation", name, file(f"evaluation/{place}", content), (doors.compare,), before, harmless)
    for name, place, content, before, harmless in (
        ("deep protocol", "protocol.json", DEEP, "crashed", False),
        ("a million digits", "protocol.json", DIGITS, "crashed", False),
        ("a protocol of lists", "protocol.json", "[]", "control", False),
        ("infinite episodes", "protocol.json", json.dumps({**PROTOCOL, "episodes": float("inf")}), "control", False),
        ("deep record", "episodes.jsonl", DEEP + "\n", "crashed", False),
        ("a record of lists", "episodes.jsonl", "[]\n", "control", False),
        ("a record never seen", "episodes.jsonl", line({**RECORD, "episode": 7}), "control", False),
    )
]

DATA = [
    Case("dataset", name, file(place, content), (way,), before)
    for name, place, content, way, before in (
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
        file("lam/config.json", json.dumps(config))(world)

    return make


EXPORTS = [
    Case("export", name, make, (doors.load_exported_lam,), before)
    for name, make, before in (
        ("create", _exported("queries", CREATE), "executed"),
        ("create in a partial", _exported("decoder.layers", CREATE), "executed"),
        ("foreign target", _exported("queries", {"_target_": "os.getpid"}), "control"),
        ("manifest is a pipe", swap(lambda w: w.root / "lam" / "manifest.json", fifo), "hung"),
        ("card of digits", file("lam/card.json", DIGITS), "crashed"),
        ("a card of nothing", file("lam/card.json", "{}"), "crashed"),
        ("deep config", file("lam/config.json", DEEP), "control"),
    )
]
