"""Words as numbers without a vocabulary to fit or to ship."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache


@lru_cache(maxsize=65536)
def hashed_words(text: str, words: int, vocabulary: int) -> tuple[int, ...]:
    """`words` ids in 1..vocabulary (crc32), the rest of the text is dropped; 0 = no word.

    Two given words share one of 1024 ids with p ~ 0.1 %. An empty text still has one id, so that attention over the
    words is never empty.
    """
    found = re.findall(r"[a-z0-9]+", text.lower())[:words] or ["<empty>"]
    ids = [1 + zlib.crc32(word.encode()) % vocabulary for word in found]
    return tuple(ids + [0] * (words - len(ids)))
