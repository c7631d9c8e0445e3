"""Names that come from data are text on every page."""

from html.parser import HTMLParser

import pytest

from lara.demo.page import big_numbers, page, section, table

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
