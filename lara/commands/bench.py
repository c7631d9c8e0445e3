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

from collections.abc import Sequence
from pathlib import Path

from lara.commands.forms import read_form, whole_numbers

CONFIG = ""
DEFAULTS = {
    "loader": "files=4,32,160 cameras=1,2 gop=2,30 frames=60 height=256 width=256 size=224 samples=200 rounds=5",
    "prepare": "episodes=100,1000,10000,100000 frames=20 rounds=3",
}
FORMS = {
    word: "output=FOLDER [page=FILE] " + " ".join(f"[{pair}]" for pair in defaults.split())
    for word, defaults in DEFAULTS.items()
}
SEVERAL = ("files", "cameras", "gop", "episodes")


def main(arguments: Sequence[str]) -> int:
    from lara.bench.command import measure_loader, measure_prepare, write
    from lara.errors import ConfigError

    word, given = read_form("lara bench", FORMS, arguments)
    defaults = dict(pair.split("=") for pair in DEFAULTS[word].split())
    settings = {key: whole_numbers(key, given.get(key, default)) for key, default in defaults.items()}
    for key, numbers in settings.items():
        if len(numbers) > 1 and key not in SEVERAL:
            raise ConfigError(f"{key} should be one whole number from 1 on, got '{given[key]}'")
    output = Path(given["output"])
    page = Path(given.get("page", output / f"{word}.md"))
    output.mkdir(parents=True, exist_ok=True)
    page.parent.mkdir(parents=True, exist_ok=True)
    record, section = (measure_loader if word == "loader" else measure_prepare)(output, settings)
    write(output / f"{word}.json", record, page, section)
    return 0
