"""lara bench loader: every way is measured on the same frames, and both files say the same."""

from __future__ import annotations

import json

import pytest

from lara.bench.measure import interleaved
from lara.cli import main

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


@pytest.mark.parametrize("line", [[], ["loader"], ["loader", "output=x", "file=4"], ["loader", "output=x", "files=a"]])
def test_wrong_lines_are_answered(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *line]) == 2
    assert "lara bench: ConfigError" in capsys.readouterr().err
