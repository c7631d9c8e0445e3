"""What the corpus does to a checkout of this repository: each case and door in a process of its own, within limits.

    PYTHONPATH=OLD:. python -m tests.security.before OLD       (OLD: git worktree add --detach OLD e3c7189)

Prints one line per case and door, and fails when the worst of a case is not what the corpus says. The modules of
`lara` come from OLD; the corpus is this one.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 8.0
WORST = ("control", "crashed", "leaked", "hung", "executed")


def main() -> int:
    old = Path(sys.argv[1]).resolve()
    wanted = sys.argv[2:]
    sys.path.insert(0, str(old))
    import lara

    assert Path(lara.__file__).is_relative_to(old), lara.__file__
    from tests.security import corpus, sound

    os.environ |= corpus.ENVIRONMENT | {"HF_HUB_OFFLINE": "1"}
    # imported once, before the processes part

    from lara.serve import load, policy  # noqa: F401

    root = Path(tempfile.mkdtemp())
    world = sound.make(root / "sound")
    wrong = 0
    for k, case in enumerate(corpus.CASES):
        if wanted and not any(w in str(case) for w in wanted):
            continue
        found = []
        for door in case.doors:
            result, said = _apart(sound.copy(world, root / f"{k}-{door.__name__}"), case, door)
            found.append(result)
            print(f"{case!s:60} {door.__name__:14} {result:9} {' '.join(said.split())[:120]}", flush=True)
        plain = [{"refused": "control", "loaded": "control"}.get(r, r) for r in found]
        worst = max(plain, key=WORST.index)
        if worst != case.before:
            wrong += 1
            print(f"    ^ the corpus says {case.before}, this was {worst}", flush=True)
    print(f"{wrong} cases differ from what the corpus says")
    return 1 if wrong else 0


def _apart(world, case, door) -> tuple[str, str]:
    from tests.security.attempt import attempt

    seconds = SECONDS * (9 if case.kind == "remote code" else 1)  # transformers takes its time to import
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
        try:
            case.make(world)
            answer = attempt(world, door, seconds=seconds)
        except BaseException as error:
            answer = ("crashed", f"(making it) {type(error).__name__}: {error}")
        os.write(writing, json.dumps(answer).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    end = time.monotonic() + seconds + 10
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hung", "killed"
        time.sleep(0.02)
    with open(reading, "rb") as file:
        content = file.read()
    try:
        return tuple(json.loads(content))
    except ValueError:
        return ("executed" if os.path.lexists(world.canary) else "hung"), f"the process died: {content[:80]!r}"


if __name__ == "__main__":
    sys.exit(main())
