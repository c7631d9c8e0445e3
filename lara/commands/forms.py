"""Commands that take key=value pairs of their own instead of a configuration: one form, one way to read it.

A form is what the usage shows: `path=FOLDER output=FOLDER [fit=pad|crop] [size=PIXELS]`. What stands in brackets may be
left out, and words in lower case between bars are all the choices that there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lara.errors import ConfigError, nearest


def read_form(command: str, forms: Mapping[str, str], arguments: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The word that says which form is meant, and what was given.

    Args:
        command: as it is typed, for messages: "lara export".
        forms: word -> form.
        arguments: what follows the command: the word, then key=value in any order.

    Raises:
        ConfigError: no such word, a key that the form does not have, a choice that is none, or something missing.
    """
    word = arguments[0] if arguments else ""
    if word not in forms:
        said = f"'{word}' is none of them" if word else "say which"
        every = "; ".join(f"{command} {name} {form}" for name, form in forms.items())
        raise ConfigError(f"expected: {every}; {said}. {nearest(word, forms)}")
    form, pairs = forms[word], [argument.partition("=") for argument in arguments[1:]]
    given = {key: value for key, equals, value in pairs if equals}
    wrong = [key + equals + value for key, equals, value in pairs if not equals or not _fits(form, key, value)]
    missing = sorted(_keys(form, needed=True) - set(given))
    if wrong or missing or len(given) != len(pairs):
        raise ConfigError(
            f"expected: {command} {word} {form}; missing: {', '.join(missing) or 'nothing'}; not understood: "
            f"{', '.join(wrong) or 'nothing'}"
        )
    return word, given


def whole_numbers(key: str, text: str) -> list[int]:
    """ "4,32" -> [4, 32]. Raises ConfigError for anything but numbers from 1 on."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"{key} should be whole numbers from 1 on, separated by commas; got '{text}'")
    return [int(part) for part in parts]


def _keys(form: str, *, needed: bool = False) -> set[str]:
    return {part.strip("[]").split("=")[0] for part in form.split() if not (needed and part.startswith("["))}


def _fits(form: str, key: str, value: str) -> bool:
    for part in form.split():
        name, _, choices = part.strip("[]").partition("=")
        if name == key:
            return not re.fullmatch(r"[a-z0-9_]+(\|[a-z0-9_]+)+", choices) or value in choices.split("|")
    return False
