"""The colours of pages and charts, by name, for light and dark screens."""

from __future__ import annotations

# "ours" is what a page is about, "reference" what it is compared with, "control" what nobody should be below
LIGHT = {
    "ink": "#1d2330",
    "soft": "#5b6474",
    "line": "#dfe3ea",
    "paper": "#ffffff",
    "ground": "#f4f6f9",
    "track": "#e9edf3",
    "ours": "#d9730d",
    "reference": "#2463eb",
    "control": "#9aa3b2",
    "green": "#2a9d5c",
    "violet": "#8b5cf6",
    "red": "#b5179e",
    "brown": "#7a5c3a",
    "teal": "#0e7c86",
}
DARK = {
    "ink": "#e7eaf0",
    "soft": "#a4adbd",
    "line": "#343b49",
    "paper": "#1b202a",
    "ground": "#12151c",
    "track": "#2a303c",
    "ours": "#f59e4b",
    "reference": "#7aa5ff",
    "control": "#7d8798",
    "green": "#5cc98c",
    "violet": "#b196ff",
    "red": "#f06ad8",
    "brown": "#c9a57c",
    "teal": "#4fc3cd",
}
SERIES = ("ours", "reference", "green", "violet", "red", "teal", "brown", "control")  # of lines, in order
DASHES = ("solid", "dashed", "dotted")  # once the colours are used up
