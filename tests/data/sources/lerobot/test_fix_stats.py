"""Recomputed statistics are those of the rows, touch nothing else, and are written only where they differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lara.data.frames.encode import ImageStorage
from lara.data.sources.lerobot.fix_stats import fix_stats
from lara.errors import DataError
from tests.data import worlds

DATA = "data/chunk-000/file-000.parquet"


@pytest.fixture
def root(tmp_path) -> Path:
    worlds.write(tmp_path / "set", storage=ImageStorage())
    return tmp_path / "set"


def stats(root: Path) -> dict:
    return json.loads((root / "meta/stats.json").read_text())


def test_what_is_right_is_not_touched(root):
    path = root / "meta/stats.json"
    before = (path.read_bytes(), path.stat().st_ino)
    assert fix_stats(root) == []
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_wrong_and_missing_figures_are_made_anew_and_the_rest_stays(root):
    right = stats(root)
    wrong = json.loads(json.dumps(right))
    wrong["action"]["max"][1] = 99.0
    wrong["action"]["of_another_tool"] = [1, 2]
    wrong["another_feature"] = {"min": [0]}
    del wrong["observation.state"]["q99"]
    (root / "meta/stats.json").write_text(json.dumps(wrong))
    said = fix_stats(root)
    assert len(said) == 2
    assert any(line.startswith("action: missing or wrong: max; max[1] was 99 and is") for line in said)
    assert any(line.startswith("observation.state: missing or wrong: q99") for line in said)
    found = stats(root)
    assert found["action"].pop("of_another_tool") == [1, 2]
    assert found.pop("another_feature") == {"min": [0]}
    assert set(found) == set(right)
    for key, group in right.items():
        for name, value in group.items():
            np.testing.assert_allclose(found[key][name], value, atol=1e-6)
    assert fix_stats(root) == []


@pytest.mark.parametrize("content", [None, "{}", '{"action": [1], "observation.state": {"min": "x", "max": null}}'])
def test_a_file_that_says_nothing_is_filled(root, content):
    right = stats(root)
    path = root / "meta/stats.json"
    path.unlink() if content is None else path.write_text(content)
    assert fix_stats(root)
    np.testing.assert_allclose(stats(root)["action"]["q99"], right["action"]["q99"], atol=1e-6)


def test_damage_is_named_and_writes_nothing(root):
    before = (root / "meta/stats.json").read_bytes()
    table = pq.read_table(root / DATA)
    values = table["action"].to_pylist()
    values[3][0] = float("nan")
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, "action", pa.array(values, table["action"].type)), root / DATA)
    with pytest.raises(DataError, match=r"file-000\.parquet: column 'action'.*finite"):
        fix_stats(root)
    (root / DATA).write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="damaged"):
        fix_stats(root)
    (root / DATA).unlink()
    with pytest.raises(DataError, match="found none"):
        fix_stats(root)
    assert (root / "meta/stats.json").read_bytes() == before
    (root / "meta/info.json").write_text('{"codebase_version": "v2.1", "features": {}}')
    with pytest.raises(DataError, match=r"v3\.0.*'v2\.1'"):
        fix_stats(root)
