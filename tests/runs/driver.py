"""`python -m tests.runs.driver FOLDER`: runs two phases of the stand-in program as a study would."""

import sys
from pathlib import Path

from lara.runs.plan import Arm, Phase, Plan, Step
from lara.runs.processes import Processes
from lara.runs.run import run

PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).with_name("program.py")))
STEPS = 40


def training(folder, name, steps=STEPS):
    run_folder = folder / name
    arguments = ("train", f"output={run_folder}", f"steps={steps}")
    return Step(name=name, arguments=arguments, trainings={run_folder: steps})


def note(folder, name):
    arguments = ("note", f"run={folder / name}", f"output={folder / name}.json")
    return Step(name=f"note_{name}", arguments=arguments)


def plan(folder, *, workers=2):
    names = ("a", "b", "c")
    first = tuple(Arm(key=n, seed=0, steps=(training(folder, n), training(folder, f"{n}_next"))) for n in names)
    second = tuple(Arm(key=f"note_{n}", seed=0, steps=(note(folder, n),)) for n in names)
    return Plan(title="test", phases=(Phase(arms=first, workers=workers), Phase(arms=second)))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    sys.exit(run(plan(out), out, executor=Processes(PROGRAM)).exit_code)
