"""Measures on this machine what loading costs, beside the reader that LeRobot's users have.

  lara bench loader output=outputs/bench
  lara bench loader output=outputs/bench files=4,32 cameras=1 gop=2 samples=100 rounds=3 page=loader.md

Writes small datasets below the output (and removes them), reads them from video, from the frame cache, and with
torchcodec by LeRobot's rule, or with LeRobot itself where it is installed; all take turns in one process, and what
counts is the processor's time. The result is loader.json, with the machine, and a section of a page.

files: episodes, each with files of its own. cameras, gop (a key frame every so many): comma-separated, all
combinations. height, width: of the recorded frames. size: what they are resized to. page: where the section goes,
loader.md in the output by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

CONFIG = ""

_DEFAULTS = {
    "files": "4,32,160",
    "cameras": "1,2",
    "gop": "2,30",
    "frames": "60",
    "height": "256",
    "width": "256",
    "size": "224",
    "samples": "200",
    "rounds": "5",
}


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError

    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    words = [argument for argument in arguments if "=" not in argument]
    unknown = sorted(set(given) - {*_DEFAULTS, "output", "page"})
    if words != ["loader"] or unknown or "output" not in given:
        keys = " ".join(f"[{name}={value}]" for name, value in _DEFAULTS.items())
        raise ConfigError(
            f"expected: lara bench loader output=FOLDER [page=FILE] {keys}; got {' '.join(arguments) or '(nothing)'}"
        )
    output = Path(given["output"])
    measure(output, Path(given.get("page", output / "loader.md")), {**_DEFAULTS, **given})
    return 0


def measure(output: Path, page: Path, settings: dict[str, str]) -> None:
    """Measure every combination and write both files. Raises ConfigError for settings that are no whole numbers."""
    from lara.bench.loader import Case, run
    from lara.bench.page import section
    from lara.store.files import replace_file
    from lara.store.records import write_json

    number = {name: _numbers(name, settings[name])[0] for name in _DEFAULTS}
    many = (_numbers(name, settings[name]) for name in ("files", "cameras", "gop"))
    cases = [
        Case(
            files=files,
            cameras=cameras,
            gop=gop,
            frames=number["frames"],
            height=number["height"],
            width=number["width"],
        )
        for files, cameras, gop in product(*many)
    ]
    output.mkdir(parents=True, exist_ok=True)
    page.parent.mkdir(parents=True, exist_ok=True)
    record = run(cases, image_size=number["size"], samples=number["samples"], rounds=number["rounds"], folder=output)
    write_json(output / "loader.json", record)
    replace_file(page, section(record).encode())
    print(section(record))
    print(page)


def _numbers(name: str, text: str) -> list[int]:
    from lara.errors import ConfigError

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ConfigError(f"{name} should be whole numbers from 1 on, got '{text}'")
    return numbers
