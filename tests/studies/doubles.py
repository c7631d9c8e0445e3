"""Executors for studies: commands without a second interpreter, and records without any command."""

import json

from lara.cli import main


def say_finished(step):
    for folder, steps in step.trainings.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps({"finished": True, "step": steps, "steps": steps}))


class InThisProcess:
    """The same commands without a second interpreter, which takes most of the time at this size."""

    def execute(self, step, log, *, show):
        log.touch()
        return main(list(step.arguments))


class Never:
    def execute(self, step, log, *, show):
        raise AssertionError(f"{step.name} ran again")


class Recorded:
    """Notes what would run, and writes what a training and a probe would."""

    def __init__(self, record, *, fail=()):
        self.record, self.ran, self.fail = record, [], fail

    def execute(self, step, log, *, show):
        self.ran.append(step.name)
        log.write_text("the last words\n")
        if step.name in self.fail:
            return 1
        say_finished(step)
        given = dict(a.split("=", 1) for a in step.arguments[1:])
        if step.arguments[0] == "probe":
            folder = log.parent.parent / step.name
            folder.mkdir(exist_ok=True)
            (folder / "probes.json").write_text(json.dumps(self.record(given["checkpoint"])))
        return 0
