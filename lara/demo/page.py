"""HTML pieces of the report: one self-contained page, no script, no file beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

STYLE = """
:root { --ink: #1d2330; --soft: #667; --line: #dfe3ea; --a: #2463eb; --b: #d9730d; --paper: #fff; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: #f4f6f9; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 8px 0 4px; } h2 { font-size: 21px; margin: 40px 0 8px; }
p { max-width: 76ch; } .soft { color: var(--soft); font-size: 14px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px;
  padding: 4px 24px 20px; margin-top: 20px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 15px; }
th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
th { color: var(--soft); font-weight: 600; font-size: 13px; } tr:last-child td { border-bottom: 0; }
td.num, th.num { text-align: right; } code { font: 13px/1.5 ui-monospace, monospace; word-break: break-word; }
.bar { position: relative; height: 18px; min-width: 220px; background: #eef1f5; border-radius: 4px; }
.bar b { position: absolute; inset: 0 auto 0 0; border-radius: 4px; background: var(--c); }
.bar i { position: absolute; top: 8px; height: 2px; background: var(--ink); }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 16px; }
figure { margin: 8px 0; } figcaption { font-size: 13px; color: var(--soft); }
video, img, svg { max-width: 100%; height: auto; display: block; border-radius: 6px; }
video { width: 100%; background: #000; } .pixel { image-rendering: pixelated; width: 100%; }
.big { display: flex; gap: 32px; flex-wrap: wrap; margin: 12px 0; } .big div { min-width: 130px; }
.big strong { display: block; font-size: 32px; line-height: 1.1; }
"""


def page(title: str, body: Sequence[str]) -> str:
    """The whole document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def section(title: str, *pieces: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>\n" + "\n".join(pieces) + "</section>"


def paragraph(text: str, *, soft: bool = False) -> str:
    """text may hold markup."""
    return f'<p class="soft">{text}</p>' if soft else f"<p>{text}</p>"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Cells may hold markup. numbers: indices of the columns to set flush right."""
    kind = ['class="num"' if k in numbers else "" for k in range(len(headers))]
    head = "".join(f"<th {kind[k]}>{html.escape(h)}</th>" for k, h in enumerate(headers))
    body = "".join("<tr>" + "".join(f"<td {kind[k]}>{c}</td>" for k, c in enumerate(row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bar(rate: float, low: float, high: float, colour: str) -> str:
    """A rate in [0, 1] as a bar, its interval as a line."""
    return (
        f'<div class="bar" style="--c:{colour}"><b style="width:{100 * rate:.1f}%"></b>'
        f'<i style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></i></div>'
    )


def video(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><video controls loop muted autoplay playsinline src="data:video/mp4;base64,{data}"></video>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def picture(png: bytes, caption: str, *, pixels: bool = False) -> str:
    data = base64.b64encode(png).decode()
    kind = ' class="pixel"' if pixels else ""
    return (
        f'<figure><img{kind} alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def row(figures: Sequence[str]) -> str:
    return '<div class="row">' + "".join(figures) + "</div>"


def numbers(items: Sequence[tuple[str, str]]) -> str:
    """Large figures with a label under each."""
    return (
        '<div class="big">' + "".join(f"<div><strong>{v}</strong>{html.escape(k)}</div>" for k, v in items) + "</div>"
    )
