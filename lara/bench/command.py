"""What `lara bench` runs: settings with defaults in, a record and a section of a page out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from lara.bench import loader, page, prepare, prepare_page
from lara.store.files import replace_file
from lara.store.records import write_json


def measure_loader(output: Path, settings: Mapping[str, list[int]]) -> tuple[dict[str, Any], str]:
    """Measure every combination of files, cameras and gop."""
    frames, height, width = (settings[name][0] for name in ("frames", "height", "width"))
    cases = [
        loader.Case(files=files, cameras=cameras, gop=gop, frames=frames, height=height, width=width)
        for files, cameras, gop in product(settings["files"], settings["cameras"], settings["gop"])
    ]
    image_size, samples, rounds = (settings[name][0] for name in ("size", "samples", "rounds"))
    record = loader.run(cases, image_size=image_size, samples=samples, rounds=rounds, folder=output)
    return record, page.section(record)


def measure_prepare(output: Path, settings: Mapping[str, list[int]]) -> tuple[dict[str, Any], str]:
    """Measure datasets of every number of episodes."""
    frames, rounds = settings["frames"][0], settings["rounds"][0]
    record = prepare.run(settings["episodes"], frames=frames, rounds=rounds, folder=output)
    return record, prepare_page.section(record)


def write(path: Path, record: dict[str, Any], place: Path, section: str) -> None:
    """The record, and the section as a page and on the screen."""
    write_json(path, record)
    replace_file(place, section.encode())
    print(section)
    print(place)
