"""Keeps `lara train`'s promises in milliseconds: trains by hashing, saves when asked to stop, says in result.json where
it stands, goes on where it was. `python program.py train output=RUN steps=N`; "note", "fail" and "lie" besides.

A run's outcome depends on every step, so that a lost or repeated one shows. How often it was signalled is noted, too.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path


def save(run, step, state, steps):
    (run / "state.tmp").write_text(json.dumps([step, state]))
    os.replace(run / "state.tmp", run / "state.json")
    (run / "result.json").write_text(json.dumps({"finished": step == steps, "step": step, "steps": steps}))


def train(run, steps):
    asked = []

    def note(number, frame):
        asked.append(number)
        with (run / "signals").open("a") as file:
            file.write(f"{os.getpid()} {number}\n")

    run.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    saved = run / "state.json"
    step, state = json.loads(saved.read_text()) if saved.exists() else (0, "")
    while step < steps:
        if asked:
            time.sleep(0.05)  # saving takes a moment, in which a second copy of the signal would be noted
            save(run, step, state, steps)
            return 128 + asked[0]
        step, state = step + 1, hashlib.sha256(f"{state}{step}".encode()).hexdigest()
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step}) + "\n")
        time.sleep(0.004)
    save(run, step, state, steps)
    return 0


def main(arguments):
    given = dict(argument.split("=", 1) for argument in arguments[1:])
    if arguments[0] == "fail":
        print("the last words", flush=True)
        return 2
    if arguments[0] == "lie":  # what `lara train` once did: exit code 0 although a signal stopped it
        run = Path(given["output"])
        run.mkdir(parents=True, exist_ok=True)
        save(run, 337, "", 1500)
        return 0
    if arguments[0] == "note":
        read = json.loads((Path(given["run"]) / "state.json").read_text())
        time.sleep(0.1)
        Path(given["output"]).write_text(json.dumps(read))
        return 0
    return train(Path(given["output"]), int(given["steps"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
