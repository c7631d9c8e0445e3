"""lara bench: every way is measured on the same frames, every step is measured, and both files say the same."""

from __future__ import annotations

import json

import pytest

from lara.bench.many_episodes import write_many
from lara.bench.measure import interleaved
from lara.bench.prepare import STEPS
from lara.cli import main
from lara.data.robot import derived_card
from lara.data.sources.fingerprints import fingerprints
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.numbers import Numbers
from lara.data.sources.validate import validate
from lara.data.split import split_episodes

pytest.importorskip("av")


def test_a_slower_way_has_the_lower_rate_whatever_the_order():
    def work(times: int):
        def way(_: int) -> int:
            sum(range(times * 20_000))
            return 5

        return way

    for ways in ({"slow": work(8), "fast": work(1)}, {"fast": work(1), "slow": work(8)}):
        rates = interleaved(ways, rounds=3)
        assert {name: len(rate) for name, rate in rates.items()} == {"slow": 3, "fast": 3}
        assert min(rates["fast"]) > max(rates["slow"])


def test_the_smallest_measurement(tmp_path, capsys):
    pytest.importorskip("torchcodec")
    from lara.data.frames.torchcodec import require_torchcodec
    from lara.errors import MissingExtraError

    try:
        require_torchcodec()
    except MissingExtraError as error:
        pytest.skip(str(error))
    small = ["files=2", "cameras=1", "gop=2", "frames=8", "height=64", "width=64", "size=32", "samples=4", "rounds=1"]
    assert main(["bench", "loader", f"output={tmp_path / 'out'}", *small]) == 0
    record = json.loads((tmp_path / "out/loader.json").read_text())
    (result,) = record["results"]
    assert {"lara, video", "lara, frame cache", "torchcodec by LeRobot's rule"} <= set(result["warm"])
    assert all(rate["low"] <= rate["median"] <= rate["high"] for rate in result["warm"].values())
    page = (tmp_path / "out/loader.md").read_text()
    assert "2 files, 1 cameras, key frame every 2, 64 x 64" in page
    assert record["machine"]["processor"] in page
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["loader.json", "loader.md"]


def test_preparing_few_episodes(tmp_path, capsys):
    small = ["episodes=10,100", "frames=5", "rounds=2"]
    assert main(["bench", "prepare", f"output={tmp_path / 'out'}", *small]) == 0
    record = json.loads((tmp_path / "out/prepare.json").read_text())
    assert [result["episodes"] for result in record["results"]] == [10, 100]
    for result in record["results"]:
        steps = result["steps"]
        assert set(steps) == set(STEPS)
        assert all(seconds["wall"] > 0 and seconds["cpu"] >= 0 for seconds in steps.values())
    page = (tmp_path / "out/prepare.md").read_text()
    assert all(step in page for step in STEPS)
    assert "| 100 | " in page
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["prepare.json", "prepare.md"]


def test_the_dataset_that_is_measured_is_a_sound_one(tmp_path):
    """Otherwise its errors or oddities would be measured instead."""
    write_many(tmp_path / "set", episodes=7, frames=5)
    source = open_dataset(tmp_path / "set")
    assert validate(source, decode=False) == ()
    assert {row.length for row in source.episodes} == {5}
    assert len(set(source.tasks)) == 7
    card, _ = derived_card(source)
    assert (card.action.low, card.action.high) == tuple(
        tuple(limit) for limit in (source.all_arrays().actions.min(0), source.all_arrays().actions.max(0))
    )
    training, held_out = split_episodes(
        ["one"] * 7, fingerprints(source, Numbers.of(source), folder=None), seed=0, validation_fraction=0.3
    )
    assert (len(training), len(held_out)) == (5, 2)  # equal episodes would stay together


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["loader"],
        ["loader", "prepare", "output=x"],
        ["loader", "output=x", "file=4"],
        ["loader", "output=x", "files=a"],
        ["loader", "output=x", "rounds=1,2"],
        ["prepare", "output=x", "files=4"],
        ["prepare", "output=x", "episodes=0"],
    ],
)
def test_wrong_lines_are_answered(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *line]) == 2
    assert list(tmp_path.iterdir()) == []
    assert "lara bench: ConfigError" in capsys.readouterr().err
