"""The `lara` command. Only the chosen command's module is imported, so that help comes at once.

This is the one place where exceptions become messages and exit codes; EXIT_CODES lists them all.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from lara import __version__
from lara.config.trust import take_trust, trusting
from lara.errors import LaraError, nearest
from lara.faults import explained

COMMANDS = {
    "collect": "demonstrations from a simulator's scripted experts -> a LeRobot dataset",
    "train": "one stage of one system, from conf/train.yaml and overrides -> checkpoints",
    "eval": "roll a policy out on a fixed list of episodes -> success rates with intervals, videos",
    "compare": "two evaluations of the same episodes -> exact paired test and a verdict",
    "check": "everything that is wrong or unusual about a dataset, and what training would make of it",
    "view": "one episode of a dataset: frames of each camera, actions and state over time -> one page",
    "probe": "whether the latents of a LAM mean anything, with baselines -> one page",
    "lams": "several LAMs trained and probed on the same clips -> one side-by-side table with baselines",
    "policies": "several systems, each from data to a policy, on the same goals -> one table of success and cost",
    "import": "what others made, executing nothing of it: a Moto / LARA tokenizer, demonstrations in HDF5",
    "export": "a part of a run as a folder of its own: `lara export lam`, `lara export policy`",
    "label": "a LAM's latent actions for every frame of a dataset or folder of videos -> columns",
    "data": "before training: `lara data cache` decodes a dataset's frames once, resumable, shared between runs",
    "bench": "what loading and preparing cost on this machine: `lara bench loader`, `lara bench prepare`",
    "show": "what a configuration would build: parts, sizes, what learns, memory; runs nothing",
    "demo": "the whole loop on Meta-World in minutes -> outputs/demo/report.html",
}

MODULES = {"import": "imports"}  # "import" is a word of Python, and no name for a module

EXIT_CODES = {
    0: "finished",
    1: "internal error, a fault of lara itself (or a probe run in which no probe applied)",
    2: "an error that the message explains: a wrong value, damaged data, a full disk",
    75: "stopped before the end where a scheduler should start the same command again (train)",
    129: "stopped before the end because its terminal went away (train)",
    130: "interrupted by Ctrl-C",
    141: "whoever read the output went away (lara ... | head)",
    143: "ended by SIGTERM",
}

HELP = f"""lara {__version__}: latent action models and vision-language-action policies that learn from each other

usage: lara COMMAND [group=choice] [key=value] ...

{{commands}}

examples:
  lara demo
  lara collect benchmark=metaworld 'tasks=[drawer-open-v3,door-lock-v3]' episodes=30 output=data/two
  lara train experiment=demo/lara data.root=data/two output=outputs/two
  lara eval client.checkpoint=outputs/two output=outputs/eval_two
  lara show experiment=lara/pretrain

lara COMMAND --help shows a command's configuration and its choices. Flags, believed here and in no file:
  --debug                 show the traceback of an error
  --allow-package NAME    also build classes of this package that are marked as buildable (repeatable)
  --trust-remote-code     run the code that comes with a Hugging Face model pinned by its commit

exit codes:
{{codes}}
"""


class Terminated(BaseException):
    """SIGTERM arrived. Like KeyboardInterrupt it passes every `except Exception`: pools and files are closed."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Whatever happens becomes at most a message on stderr and one of EXIT_CODES."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        arguments = [a for a in arguments if a != "--debug"]
    name = arguments[0] if arguments[:1] and arguments[0] in COMMANDS else ""
    return _guarded(lambda: _run(arguments), who=f"lara {name}".rstrip(), debug=debug)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        commands = "\n".join(f"  {name:9}{text}" for name, text in COMMANDS.items())
        print(
            HELP.format(commands=commands, codes="\n".join(f"  {code:<4} {text}" for code, text in EXIT_CODES.items()))
        )
        return 0
    if arguments[0] in ("-V", "--version"):
        print(__version__)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"lara: there is no command '{name}'. {nearest(name, COMMANDS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"lara.commands.{MODULES.get(name, name)}")
    if any(a in ("-h", "--help") for a in rest):
        from lara.commands import usage

        print(usage(module, name, COMMANDS[name]))
        return 0
    trust, rest = take_trust(rest)
    with trusting(trust):
        status: int = module.main(rest)
    return status


def _guarded(command: Callable[[], int], *, who: str, debug: bool) -> int:
    """The command's exit code; exceptions become one message and the code that stands for them."""
    try:
        with _sigterm_raises():
            code = command()
            sys.stdout.flush()  # here, where a reader that has gone can still be answered
        return code
    except KeyboardInterrupt:
        return _leave(f"{who}: interrupted; the same command goes on where it was", 130, debug)
    except Terminated:
        return _leave(f"{who}: terminated; the same command goes on where it was", 143, debug)
    except LaraError as error:
        return _leave(f"{who}: {type(error).__name__}: {error}", 2, debug)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _stdout_has_no_reader():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush at exit is quiet
            return 141
        known = explained(error)
        if known is not None:
            return _leave(f"{who}: {type(known).__name__}: {known}", 2, debug)
        said = " ".join(f"{type(error).__name__}: {error}".split())
        how = "" if debug else "; run it again with --debug for the traceback"
        return _leave(f"{who}: internal error: {said[:500]}{how}, and report it with the command line", 1, debug)


def _leave(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(message, file=sys.stderr)
    return code


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM raises Terminated, unless somebody else (a training's loop, a host program) already handles it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stdout_has_no_reader() -> bool:
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return bool(poll.poll(0))
    except (OSError, ValueError):  # captured or closed: no pipe at all
        return False


if __name__ == "__main__":
    sys.exit(main())
