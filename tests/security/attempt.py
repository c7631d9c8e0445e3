"""One hostile folder through one door, and what came of it."""

import contextlib
import io
import logging
import os
import signal
from collections.abc import Callable

from tests.security.doors import Refused
from tests.security.sound import SECRET, World


class _TooLong(BaseException):
    pass


def attempt(world: World, door: Callable[[World], None], *, seconds: float) -> tuple[str, str]:
    """("executed" | "leaked" | "hung" | "crashed" | "refused" | "loaded", everything that was said)."""
    from lara.errors import LaraError

    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    result = "loaded"

    def ring(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            door(world)
    except Refused:
        result = "refused"
    except LaraError as error:
        result = "refused"
        said.write(str(error))
    except (_TooLong, MemoryError) as error:
        result = "hung"
        said.write(type(error).__name__)
    except SystemExit as error:
        result = "executed"
        said.write(f"SystemExit: {error}")
    except Exception as error:
        result = "crashed"
        said.write(f"{type(error).__name__}: {error}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        logging.getLogger().removeHandler(handler)
    if os.path.lexists(world.canary):
        return "executed", said.getvalue()
    if SECRET in said.getvalue():
        return "leaked", said.getvalue()
    return result, said.getvalue()
