"""Pages hold what they are given, obey nothing in it, and need nothing beside them."""

import re
from html.parser import HTMLParser

import pytest

from lara.pages.blocks import (
    Bar,
    Charts,
    Code,
    Figures,
    Note,
    Page,
    Picture,
    Row,
    Section,
    Strong,
    Subheading,
    Table,
    Text,
    Video,
)
from lara.pages.charts import Cloud, Line, Panel, draw
from lara.pages.palette import DARK, LIGHT, SERIES
from lara.pages.render import render, write_page

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'$\\frac{</style>&amp;{{ 7*7 }}{% raw %}"
VOID = {"meta", "img", "path", "use", "link", "br"}


def everything(text, folder):
    """A page that uses every block, with `text` wherever text goes."""
    film = folder / "film.mp4"
    film.write_bytes(b"\0\0\0 ftypisom")
    lines = [Line(label=f"{text} {k}", x=[1, 2], y=[0.1, 0.2 + k]) for k in range(10)]
    panels = [Panel(title=text, lines=lines, xlabel=text, log=True), Cloud(title=text, x=[0], y=[1], angles=[1.0])]
    picture = Picture(png=b"\x89PNG", caption=text, pixels=True)
    blocks = [
        Text(text, Code(text), Strong(text)),
        Note(text),
        Subheading(text),
        Table(headers=[text, text], rows=[[text, Code(text)], [Strong(text), Bar(rate=0.5, low=0.2, high=0.8)]]),
        Figures([(text, text)]),
        Charts(draw(panels)),
        picture,
        Row([picture, Video(path=film, caption=text)]),
    ]
    return Page(title=text, heading=text, lead=blocks[:2], sections=[Section(text, *blocks), Section(text)])


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.texts, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parsed(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_nothing_that_is_shown_is_obeyed(tmp_path):
    hostile, harmless = (parsed(render(everything(text, tmp_path))) for text in (HOSTILE, "plain"))
    assert hostile.seen == harmless.seen
    assert not any(name.startswith("on") for _, name, _ in hostile.attributes)
    assert sum(HOSTILE in text for text in hostile.texts) >= 20


def test_a_page_needs_nothing_beside_it(tmp_path):
    tags = parsed(render(everything("x", tmp_path)))
    assert "script" not in tags.seen
    for tag, name, value in tags.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:", "#")), (tag, value)
    (policy,) = [v for t, n, v in tags.attributes if t == "meta" and n == "content" and "default-src" in v]
    assert "default-src 'none'" in policy


def test_equal_pages_are_equal_files(tmp_path):
    one, two = (everything("x", tmp_path) for _ in range(2))
    write_page(tmp_path / "one.html", one)
    assert (tmp_path / "one.html").read_text() == render(two)


def test_charts_take_their_colours_from_the_page_and_leave_out_what_is_not_finite():
    nan = float("nan")
    (drawing,) = draw(
        [Panel(title="t", lines=[Line(label="a", x=[1, 2], y=[None, nan]), Line(label="b", x=[1], y=[2])])]
    )
    assert drawing.legend == (("b", "reference", "solid"),)
    assert f"var(--{SERIES[1]})" in drawing.svg
    assert not [c for c in re.findall(r"#[0-9a-f]{6}", drawing.svg) if c in LIGHT.values()]
    assert set(LIGHT) == set(DARK) >= set(SERIES)
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_a_logarithmic_axis_is_labelled_in_plain_numbers():
    (drawing,) = draw([Panel(title="t", lines=[Line(label="a", x=[1, 2, 3], y=[1.3, 1.7, 20])], log=True)])
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)
    assert not any("math" in text or "$" in text for text in texts), texts
    assert "10" in texts


def test_many_lines_stay_apart():
    lines = [Line(label=str(k), x=[1, 2], y=[k, k]) for k in range(20)]
    (drawing,) = draw([Panel(title="t", lines=lines)])
    assert len({entry[1:] for entry in drawing.legend}) == 20


def test_a_template_that_names_what_is_not_there_fails():
    from jinja2 import UndefinedError

    from lara.pages.render import _environment

    with pytest.raises(UndefinedError):
        _environment().from_string("{{ page.titel }}").render(page=Page(title="", heading="", lead=(), sections=()))
