"""Measures on this machine what loading costs, beside the reader that LeRobot's users have, and what preparing costs.

  lara bench loader output=outputs/bench
  lara bench loader output=outputs/bench files=4,32 cameras=1 gop=2 samples=100 rounds=3 page=loader.md
  lara bench prepare output=outputs/bench episodes=100,1000,10000,100000

Both write small datasets below the output (and remove them), print a section of a page, and leave it there beside a
record with the machine: loader.md and loader.json, prepare.md and prepare.json.

loader: reads from video, from the frame cache, and with torchcodec by LeRobot's rule, or with LeRobot itself where it
is installed; all take turns in one process, and what counts is the processor's time. files: episodes, each with files
of its own. cameras, gop (a key frame every so many): comma-separated, all combinations. height, width: of the
recorded frames. size: what they are resized to.

prepare: opens, validates and reads datasets of so many episodes without pictures, and everything else that comes before
the first batch; the quickest round counts. episodes: comma-separated. frames: of each episode.

page: where the section goes instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

CONFIG = ""

_DEFAULTS = {
    "loader": {
        "files": "4,32,160",
        "cameras": "1,2",
        "gop": "2,30",
        "frames": "60",
        "height": "256",
        "width": "256",
        "size": "224",
        "samples": "200",
        "rounds": "5",
    },
    "prepare": {"episodes": "100,1000,10000,100000", "frames": "20", "rounds": "3"},
}
_SEVERAL = ("files", "cameras", "gop", "episodes")


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError

    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    words = [argument for argument in arguments if "=" not in argument]
    what = words[0] if len(words) == 1 and words[0] in _DEFAULTS else None
    if what is None or set(given) - {*_DEFAULTS[what], "output", "page"} or "output" not in given:
        known = "; ".join(
            f"lara bench {name} output=FOLDER [page=FILE] " + " ".join(f"[{k}={v}]" for k, v in defaults.items())
            for name, defaults in _DEFAULTS.items()
            if what in (None, name)
        )
        raise ConfigError(f"expected: {known}; got {' '.join(arguments) or '(nothing)'}")
    settings = {name: _numbers(name, given.get(name, default)) for name, default in _DEFAULTS[what].items()}
    output = Path(given["output"])
    page = Path(given.get("page", output / f"{what}.md"))
    output.mkdir(parents=True, exist_ok=True)
    page.parent.mkdir(parents=True, exist_ok=True)
    record, section = (_loader if what == "loader" else _prepare)(output, settings)
    _write(output / f"{what}.json", record, page, section)
    return 0


def _loader(output: Path, settings: Mapping[str, list[int]]) -> tuple[dict[str, Any], str]:
    """Measure every combination of files, cameras and gop."""
    from lara.bench.loader import Case, run
    from lara.bench.page import section

    frames, height, width = (settings[name][0] for name in ("frames", "height", "width"))
    cases = [
        Case(files=files, cameras=cameras, gop=gop, frames=frames, height=height, width=width)
        for files, cameras, gop in product(settings["files"], settings["cameras"], settings["gop"])
    ]
    image_size, samples, rounds = (settings[name][0] for name in ("size", "samples", "rounds"))
    record = run(cases, image_size=image_size, samples=samples, rounds=rounds, folder=output)
    return record, section(record)


def _prepare(output: Path, settings: Mapping[str, list[int]]) -> tuple[dict[str, Any], str]:
    """Measure datasets of every number of episodes."""
    from lara.bench.prepare import run
    from lara.bench.prepare_page import section

    frames, rounds = settings["frames"][0], settings["rounds"][0]
    record = run(settings["episodes"], frames=frames, rounds=rounds, folder=output)
    return record, section(record)


def _write(path: Path, record: dict[str, Any], page: Path, section: str) -> None:
    from lara.store.files import replace_file
    from lara.store.records import write_json

    write_json(path, record)
    replace_file(page, section.encode())
    print(section)
    print(page)


def _numbers(name: str, text: str) -> list[int]:
    from lara.errors import ConfigError

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or (len(numbers) > 1 and name not in _SEVERAL):
        one = "whole numbers from 1 on, separated by commas" if name in _SEVERAL else "one whole number from 1 on"
        raise ConfigError(f"{name} should be {one}, got '{text}'")
    return numbers
