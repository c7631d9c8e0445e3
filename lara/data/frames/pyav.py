"""PyAV, or a message saying how to get it."""

from __future__ import annotations

from typing import Any

from lara.errors import missing_extra


def require_av(feature: str) -> Any:
    """The `av` module, or MissingExtraError saying how to get it."""
    try:
        import av
    except ImportError as error:
        raise missing_extra("av", "video", feature) from error
    return av
