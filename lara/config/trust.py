"""What this command line says it trusts beside the project itself: a lab's own packages, a model's remote code.

Neither is ever believed when it stands in a file, because a file may have come with a checkpoint from a stranger. What
is trusted holds for one process; whoever starts another hands `trusted()` on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lara.errors import ConfigError

OWN_PACKAGES = ("lara", "sim_eval", "real_eval")


@dataclass(frozen=True)
class Trust:
    """packages: top-level packages whose marked classes may be built, beside OWN_PACKAGES (`--allow-package NAME`).
    remote_code: whether code that comes with a pinned Hugging Face model may run (`--trust-remote-code`)."""

    packages: tuple[str, ...] = ()
    remote_code: bool = False

    def __post_init__(self) -> None:
        wrong = [name for name in self.packages if not (isinstance(name, str) and name.isidentifier())]
        if wrong:
            raise ConfigError(
                f"--allow-package takes the name of a top-level package, such as my_lab; got {wrong[0]!r}"
            )

    def flags(self) -> list[str]:
        """The command line that says so, for a `lara` command started by another."""
        packages = [f"--allow-package={name}" for name in self.packages]
        return [*packages, *(["--trust-remote-code"] if self.remote_code else [])]


_current = Trust()


def trusted() -> Trust:
    """What this process trusts."""
    return _current


@contextmanager
def trusting(trust: Trust) -> Iterator[None]:
    """For the length of a `with` block, in every thread of this process."""
    global _current
    before, _current = _current, trust
    try:
        yield
    finally:
        _current = before


def adopt(trust: Trust) -> None:
    """For good: the first act of a worker process, with what its parent trusts."""
    global _current
    _current = trust


def under(trust: Trust, body: Callable[..., Any], *arguments: Any) -> Any:
    """Body of a worker process that trusts what its parent does."""
    with trusting(trust):
        return body(*arguments)


def take_trust(arguments: Sequence[str]) -> tuple[Trust, list[str]]:
    """A command's arguments -> what its flags trust, and the arguments without them.

    Raises ConfigError for `--allow-package` without a name.
    """
    packages: list[str] = []
    rest: list[str] = []
    remote_code = False
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--trust-remote-code":
            remote_code = True
        elif argument == "--allow-package":
            packages.append(next(remaining, ""))
        elif argument.startswith("--allow-package="):
            packages.append(argument.partition("=")[2])
        else:
            rest.append(argument)
    return Trust(tuple(packages), remote_code), rest
