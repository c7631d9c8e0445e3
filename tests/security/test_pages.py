"""Names that come from data are text on every page: tasks, instructions, cameras, runs, the labels of charts."""

from html.parser import HTMLParser

import pytest

from lara.pages.blocks import Code, Figures, Note, Page, Section, Strong, Subheading, Table, Text
from lara.pages.charts import Line, Panel, draw
from lara.pages.render import render

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><iframe src=//example.org>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
]


class _Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}


def _page(text):
    blocks = (
        Text(text, Code(text), Strong(text)),
        Note(text),
        Subheading(text),
        Table(headers=[text, text], rows=[[text, Code(text)]]),
        Figures([(text, text)]),
    )
    return Page(title=text, heading=text, lead=[Text(text)], sections=[Section(text, *blocks)])


def _seen(html):
    seen = _Seen()
    seen.feed(html)
    return seen


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_adds_no_tag_and_no_attribute(text):
    hostile, sound = _seen(render(_page(text))), _seen(render(_page("reach")))
    assert hostile.tags == sound.tags
    assert hostile.attributes == sound.attributes
    assert "49" not in render(_page("{{ 7 * 7 }}")).split("<body")[1]


def test_a_hostile_label_is_drawn():
    line = Line(label=HOSTILE[1], x=[0, 1], y=[0, 1])
    (drawing,) = draw([Panel(title=HOSTILE[0], lines=[line], xlabel=HOSTILE[2])])
    assert not _seen(drawing.svg).tags & {"script", "img", "iframe"}
    assert "onload" not in _seen(drawing.svg).attributes
