"""A checkpoint fills a module completely or not at all, and what stands in the way is said by name."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lara.errors import CheckpointError
from lara.policy.hosts.shared.hub import local_folder
from lara.policy.hosts.shared.weights import fill, read_safetensors


def net(seed=0):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    return nn.ModuleDict({"body": body, "head": nn.Linear(2, 2)})


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_full_checkpoint_fills_parameters_and_buffers_and_counts_them():
    source, target = net(1), net(2)
    counts = fill(target, {f"model.{k}": v for k, v in source.state_dict().items()}, rename=lambda n: n[6:], source="x")
    assert same(source, target)
    assert counts == {"loaded": len(source.state_dict()), "missing": 0, "ignored": 0}


def test_the_target_keeps_its_dtype_and_its_storage():
    target = net(2).to(torch.bfloat16)
    places = [p.data_ptr() for p in target.parameters()]
    fill(target, net(1).state_dict(), source="x")
    assert places == [p.data_ptr() for p in target.parameters()]
    assert all(p.dtype == torch.bfloat16 for p in target.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("body.0.weight"), "1 missing under 'body.0': body.0.weight"),
        (lambda t: t.update(stranger=torch.ones(1)), "1 unexpected under 'stranger'"),
        (
            lambda t: t.update({"head.bias": torch.ones(3)}),
            "1 of another shape under 'head': head.bias (3,) instead of (2,)",
        ),
    ],
)
def test_less_than_everything_is_refused_and_changes_nothing(change, said):
    target, before = net(2), net(2)
    tensors = dict(net(1).state_dict())
    change(tensors)
    with pytest.raises(CheckpointError, match=re.escape(said)) as caught:
        fill(target, tensors, source="somewhere")
    assert "somewhere fills" in str(caught.value)
    assert same(target, before)


def test_what_may_be_missing_or_is_not_wanted_is_said_by_regex():
    tensors = {k: v for k, v in net(1).state_dict().items() if not k.startswith("head")} | {
        "lm_head.weight": torch.ones(9)
    }
    target = net(2)
    counts = fill(target, tensors, allow_missing=(r"head\..*",), ignore=(r"lm_head\..*",), source="x")
    assert (counts["missing"], counts["ignored"]) == (2, 1)
    assert torch.equal(target["head"].weight, net(2)["head"].weight)
    with pytest.raises(CheckpointError, match="2 missing"):
        fill(target, tensors, allow_missing=("head",), ignore=("lm_head.*",), source="x")


def test_two_names_for_one_place_are_refused():
    with pytest.raises(CheckpointError, match="both renamed to"):
        fill(nn.Linear(1, 1), {"a": torch.ones(1, 1), "b": torch.ones(1, 1)}, rename=lambda n: "weight", source="x")


def test_one_name_of_a_tied_weight_is_enough():
    tied = nn.ModuleDict({"embed": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    tied["head"].weight = tied["embed"].weight
    fill(tied, {"head.weight": torch.ones(5, 3)}, source="x")
    assert (tied["embed"].weight == 1).all()


def test_a_file_a_folder_and_shards_give_the_same(tmp_path):
    tensors = {k: v.contiguous() for k, v in net(1).state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    names = sorted(tensors)
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    for k in range(2):
        save_file({n: tensors[n] for n in names[k::2]}, sharded / f"model-{k}.safetensors")
    index = {"weight_map": {n: f"model-{k}.safetensors" for k in range(2) for n in names[k::2]}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    for path in (tmp_path / "model.safetensors", tmp_path, sharded, sharded / "model.safetensors.index.json"):
        read = read_safetensors(path)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[n], tensors[n]) for n in tensors)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no safetensors at all"),
        ({"model.bin": b"x"}, "pickles"),
        ({"model.safetensors": b"version https://git-lfs"}, "LFS pointer"),
        ({"model.safetensors.index.json": b"[]"}, "expected a JSON object"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../../x.safetensors"}}'}, "outside its own folder"),
        ({"model.safetensors.index.json": b'{"weight_map": {}}'}, "weight_map"),
    ],
)
def test_what_is_no_safetensors_is_refused(tmp_path, files, said):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        read_safetensors(tmp_path)


def test_an_index_that_lists_what_no_shard_holds_is_refused(tmp_path):
    save_file({"a": torch.ones(1), "more": torch.ones(1)}, tmp_path / "one.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="lack 1 listed tensors"):
        read_safetensors(tmp_path)


def test_a_folder_is_taken_as_it_is_and_a_hub_id_needs_a_revision(tmp_path):
    assert local_folder(str(tmp_path), revision=None) == tmp_path
    with pytest.raises(CheckpointError, match="needs revision="):
        local_folder("owner/name", revision=None)
    for wrong in ("/not/there", "name", "a/b/c"):
        with pytest.raises(CheckpointError, match="neither a folder"):
            local_folder(wrong, revision="main")


def _http(kind, status):
    return kind("refused", response=SimpleNamespace(status_code=status, headers={}, request=None))


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("GatedRepoError", 403, "is gated"),
        ("RevisionNotFoundError", 404, "has no revision 'abc'"),
        ("RepositoryNotFoundError", 404, "the hub has no model"),
        ("HfHubHTTPError", 500, "the hub refused"),
        ("LocalEntryNotFoundError", None, "cannot be reached"),
        ("OfflineModeIsEnabled", None, "cannot be reached"),
        ("ConnectionError", None, "cannot be reached"),
    ],
)
def test_every_refusal_of_the_hub_has_its_own_words(monkeypatch, kind, status, said):
    import huggingface_hub
    import huggingface_hub.errors

    if kind == "ConnectionError":
        error = ConnectionError("no route")
    else:
        cls = getattr(huggingface_hub.errors, kind)
        error = cls("gone") if status is None else _http(cls, status)

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        local_folder("owner/name", revision="abc")


def test_only_weights_and_records_are_fetched_at_the_pinned_revision(monkeypatch, tmp_path):
    import huggingface_hub

    asked = {}

    def fetch(name, **kwargs):
        asked.update(name=name, **kwargs)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert local_folder("owner/name", revision="abc") == tmp_path
    assert asked["revision"] == "abc"
    assert not [p for p in asked["allow_patterns"] if p.endswith((".py", ".bin", ".pt", "*"))]
