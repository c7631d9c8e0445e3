"""A page's data -> one self-contained HTML file."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lara.pages.blocks import Page
from lara.pages.palette import DARK, LIGHT
from lara.store.files import replace_file

if TYPE_CHECKING:
    from jinja2 import Environment


def write_page(path: Path, page: Page) -> None:
    """Replaces `path` by the page, as a whole."""
    replace_file(path, render(page).encode())


def render(page: Page) -> str:
    """The page as one HTML document: no script, nothing from the network, no file beside it."""
    return _environment().get_template("page.html").render(page=page, light=LIGHT, dark=DARK)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("lara.pages"),
        autoescape=True,  # whatever a name, path or task says, it is shown and not obeyed
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    environment.filters["content"] = lambda path: path.read_bytes()
    environment.filters["drawn"] = Markup  # SVG from `charts` alone, whose texts matplotlib has escaped
    return environment
