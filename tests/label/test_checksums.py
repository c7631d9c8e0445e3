"""A label that was changed after it was written is refused by whoever would learn from it."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from lara.data.actions.latent import LatentActions
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.numbers import Numbers
from lara.errors import DataError
from lara.label.run import LabelSettings, label
from tests.data.worlds import write
from tests.label.worlds import joint_run

HERE = LabelSettings(workers=0, shard_frames=8, batch_size=4)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("checksums")
    write(root / "data", (5, 6), data_file_mb=0.0005)
    shutil.copytree(root / "data", root / "inside")
    joint_run(root / "lam", gap=2)
    label(lam=root / "lam", dataset=root / "data", output=root / "beside", settings=HERE)
    label(lam=root / "lam", dataset=root / "inside", output=None, in_place=True, settings=HERE)
    return root


def read(world, labels):
    source = open_dataset(world / "data")
    latent = LatentActions(root=labels)
    assert source.robot is not None
    return latent.bind(latent.body(source, source.robot)).targets(source, Numbers.of(source))


def flipped(content, rng, start=0, end=None):
    at = rng.randrange(start, len(content) if end is None else end)
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def test_every_flipped_byte_of_a_sidecar_is_refused_by_name(world):
    rng, tried = random.Random(0), 0
    for path in sorted(p for p in (world / "beside").rglob("*") if p.is_file()):
        whole = path.read_bytes()
        for _ in range(6):
            path.write_bytes(flipped(whole, rng))
            with pytest.raises(DataError) as refused:
                read(world, world / "beside")
            assert path.name in str(refused.value) or path.name == "manifest.json"
            tried += 1
        path.write_bytes(whole)
    assert tried > 30
    values, mask = read(world, world / "beside")
    assert np.array_equal(values, read(world, world / "inside")[0])
    assert mask.any()


def test_a_changed_label_or_record_inside_a_dataset_is_refused(world):
    rng = random.Random(0)
    sound = read(world, world / "inside")
    record = world / "inside" / "meta" / "labels.latent.json"
    whole = record.read_bytes()
    for _ in range(12):
        record.write_bytes(flipped(whole, rng))
        with pytest.raises(DataError, match=r"labels\.latent\.json"):
            read(world, world / "inside")
    record.write_bytes(whole)
    path = sorted((world / "inside" / "data").rglob("*.parquet"))[0]
    whole, group = path.read_bytes(), pq.read_metadata(path).row_group(0)
    column = next(group.column(k) for k in range(group.num_columns) if "latent.z" in group.column(k).path_in_schema)
    said = []
    for _ in range(24):
        start = column.dictionary_page_offset or column.data_page_offset
        path.write_bytes(flipped(whole, rng, start, start + column.total_compressed_size))
        try:
            found = read(world, world / "inside")
        except DataError as error:
            said.append(str(error))
            continue
        assert all(np.array_equal(a, b) for a, b in zip(found, sound, strict=True))  # statistics of a page, unread
    path.write_bytes(whole)
    assert len(said) > 15
    assert all(path.name in text for text in said)


def test_other_columns_may_come_and_labels_without_checksums_are_to_be_made_again(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world / "inside", data)
    other = LabelSettings(workers=0, shard_frames=8, batch_size=4, prefix="other")
    label(lam=world / "lam", dataset=data, output=None, in_place=True, settings=other)
    assert np.array_equal(read(world, data)[0], read(world, world / "inside")[0])
    shutil.copytree(world / "beside", tmp_path / "old")
    (tmp_path / "old" / "manifest.json").unlink()
    with pytest.raises(DataError, match="label again"):
        read(world, tmp_path / "old")
    about = json.loads((world / "inside" / "meta" / "labels.latent.json").read_text())
    assert set(about["columns"]) == {str(p.relative_to(data)) for p in (data / "data").rglob("*.parquet")}
