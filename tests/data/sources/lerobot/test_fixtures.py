"""Datasets that are kept as others wrote them: every picture asked for is that picture, in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lara.data.robot import derived_card
from lara.data.sources.auto import AnyFormat
from lara.data.sources.validate import validate
from tests.data import worlds

FIXTURES = Path(__file__).parent / "fixtures"
LENGTHS = (12, 1, 9)
KEPT = sorted(path.name for path in FIXTURES.iterdir() if (path / "meta").is_dir())


@pytest.mark.parametrize("name", KEPT)
def test_two_thousand_frames_are_the_ones_asked_for(name):
    source = AnyFormat().open(FIXTURES / name)
    validate(source, decode=True)
    assert [row.length for row in source.episodes] == list(LENGTHS)
    rng, asked = np.random.default_rng(0), 0
    while asked < 2000:
        episode, camera = int(rng.integers(3)), int(rng.integers(2))
        wanted = rng.integers(0, LENGTHS[episode], rng.integers(1, 40))
        pictures = source.frames(episode, source.cameras[camera], wanted)
        assert [worlds.read_picture(p) for p in pictures] == [(episode, t, camera) for t in wanted]
        asked += len(wanted)


@pytest.mark.parametrize("name", KEPT)
def test_numbers_are_those_of_the_files_by_another_reader(name):
    files = sorted((FIXTURES / name / "data").rglob("*.parquet"))
    table = pa.concat_tables([pq.read_table(path) for path in files], promote_options="permissive")
    found = AnyFormat().open(FIXTURES / name).all_arrays()
    for ours, column in ((found.actions, "action"), (found.state, "observation.state")):
        theirs = np.array(table[column].to_pylist(), np.float32)
        assert ours.shape == theirs.shape
        # modality.json may put slices of a column in another order
        np.testing.assert_array_equal(np.sort(ours, axis=1), np.sort(theirs, axis=1))
        assert name == "v21" or np.array_equal(ours, theirs)
    assert found.timestamp.tolist() == pytest.approx(table["timestamp"].to_pylist(), abs=1e-6)


@pytest.mark.parametrize("name", KEPT)
def test_one_line_opens_each_of_them(name):
    source = AnyFormat().open(FIXTURES / name)
    card, _ = derived_card(source)
    assert (card.action.dim, len(card.observation.state), card.action.rate_hz) == (3, 2, 10)
    assert len(set(card.action.names)) == 3
    assert len(card.observation.cameras) == 2
    actions = source.all_arrays().actions
    np.testing.assert_allclose(card.action.low, actions.min(0), rtol=1e-6)
    np.testing.assert_allclose(card.action.high, actions.max(0), rtol=1e-6)
    assert {source.tasks[k] for k in source.all_arrays().task_index} == set(source.tasks)


def test_the_fixtures_are_there_and_small():
    assert KEPT == ["v20", "v21", "v30_lerobot044", "v30_lerobot061"]
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 220_000
