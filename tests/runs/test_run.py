"""What a run believes, repeats, refuses and reports."""

import json
import sys

import pytest

from lara.config.trust import Trust, trusting
from lara.errors import ConfigError, DataError, LaraError
from lara.runs.book import Book
from lara.runs.plan import Arm, Phase, Plan, Step, one_seed_each
from lara.runs.processes import Processes
from lara.runs.progress import Progress
from lara.runs.run import run
from tests.runs.driver import PROGRAM, training


class Recorded:
    """Notes what would run, and writes what a training would."""

    def __init__(self, *, fail=()):
        self.ran, self.fail = [], fail

    def execute(self, step, log, *, show):
        self.ran.append(step.name)
        log.write_text("the last words\n")
        for folder, steps in step.trainings.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text(json.dumps({"finished": True, "step": steps, "steps": steps}))
        return 2 if step.name in self.fail else 0


def chain(folder, *names, steps=10):
    """A training, and a second command that reads it, per name."""
    arms = [
        Arm(key=n, seed=0, steps=(training(folder, n, steps), Step(name=f"read_{n}", arguments=("read", n))))
        for n in names
    ]
    return Plan(title="test", phases=(Phase(arms=tuple(arms)),))


def test_what_is_finished_is_not_repeated_and_what_reads_a_new_training_is(tmp_path):
    first, second, third = Recorded(), Recorded(), Recorded()
    run(chain(tmp_path, "a", "b"), tmp_path, executor=first)
    assert first.ran == ["a", "read_a", "b", "read_b"]
    run(chain(tmp_path, "a", "b"), tmp_path, executor=second)
    assert second.ran == []
    changed = chain(tmp_path, "a", "b").phases[0].arms
    longer = Plan(title="test", phases=(Phase(arms=(chain(tmp_path, "a", steps=20).phases[0].arms[0], changed[1])),))
    run(longer, tmp_path, executor=third)
    assert third.ran == ["a", "read_a"]


def test_what_a_phase_runs_anew_is_read_anew_by_later_phases(tmp_path):
    def plan(steps):
        train = Arm(key="a", seed=0, steps=(training(tmp_path, "a", steps),))
        judge = Arm(key="judge", seed=0, steps=(Step(name="judge", arguments=("judge",)),))
        return Plan(title="test", phases=(Phase(arms=(train,)), Phase(arms=(judge,))))

    run(plan(10), tmp_path, executor=Recorded())
    again = Recorded()
    run(plan(20), tmp_path, executor=again)
    assert again.ran == ["a", "judge"]


def test_a_failure_starts_nothing_more_and_the_next_attempt_goes_on_there(tmp_path):
    plan = chain(tmp_path, "a", "b")
    broken, again = Recorded(fail=("read_a",)), Recorded()
    with pytest.raises(LaraError, match="the last words"):
        run(plan, tmp_path, executor=broken)
    assert broken.ran == ["a", "read_a"]
    assert run(plan, tmp_path, executor=again).finished
    assert again.ran == ["read_a", "b", "read_b"]


def test_exit_code_0_of_a_training_that_is_not_finished_is_not_believed(tmp_path):
    step = training(tmp_path, "a", 1500)
    lying = Step(name="a", arguments=("lie", *step.arguments[1:]), trainings=step.trainings)
    plan = Plan(title="test", phases=(Phase(arms=(Arm(key="a", seed=0, steps=(lying,)),)),))
    with pytest.raises(LaraError, match="'step': 337"):
        run(plan, tmp_path, executor=Processes(PROGRAM))
    assert not Book(tmp_path).finished(lying)


def test_a_training_that_says_nothing_is_not_believed_either(tmp_path):
    class Silent(Recorded):
        def execute(self, step, log, *, show):
            return 0

    with pytest.raises(LaraError, match="says nothing"):
        run(chain(tmp_path, "a"), tmp_path, executor=Silent())


def test_the_output_of_a_step_is_kept_and_its_end_is_in_the_error(tmp_path):
    plan = Plan(title="t", phases=(Phase(arms=(Arm(key="a", seed=0, steps=(Step(name="a", arguments=("fail",)),)),)),))
    with pytest.raises(LaraError, match="exit code 2"):
        run(plan, tmp_path, executor=Processes(PROGRAM))
    assert (tmp_path / "logs" / "a.log").read_text() == "the last words\n"


def test_seconds_are_of_all_attempts_and_a_lost_attempt_is_remembered(tmp_path):
    step, book = Step(name="a", arguments=("x",)), Book(tmp_path)
    book.begin(step)
    book.end(step, seconds=2.0, finished=False)
    book.begin(step)
    book.end(step, seconds=3.0, finished=True)
    assert Book(tmp_path)[step].seconds == 5.0
    assert Book(tmp_path)[step].whole
    book.begin(step)  # anew, after it had ended
    assert book[step].seconds == 0
    again = Book(tmp_path)  # the process was killed here
    again.begin(step)
    again.end(step, seconds=1.0, finished=True)
    assert not again[step].whole


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', '{"a": {"command": "x"}}', "{", '{"a": {"finished": "yes"}}'])
def test_a_damaged_book_is_refused(tmp_path, content):
    (tmp_path / "book.json").write_text(content)
    with pytest.raises(DataError, match=r"book\.json"):
        Book(tmp_path)


def test_two_processes_do_not_share_a_folder(tmp_path):
    class Nested(Recorded):
        def execute(self, step, log, *, show):
            with pytest.raises(ConfigError, match="is in use"):
                run(chain(tmp_path, "b"), tmp_path, executor=Recorded())
            return super().execute(step, log, show=show)

    assert run(chain(tmp_path, "a"), tmp_path, executor=Nested()).finished


def test_a_plan_says_what_is_wrong_with_it(tmp_path):
    arm = chain(tmp_path, "a").phases[0].arms[0]
    with pytest.raises(ConfigError, match="occur twice: a"):
        Plan(title="t", phases=(Phase(arms=(arm,)), Phase(arms=(arm,))))
    with pytest.raises(ConfigError, match="workers"):
        Plan(title="t", phases=(Phase(arms=(arm,), workers=0),))
    with pytest.raises(ConfigError, match="minutes"):
        run(chain(tmp_path, "a"), tmp_path, minutes=0, executor=Recorded())
    for seeds in ([], [0, 0], ["0"], [True]):
        with pytest.raises(ConfigError, match="seeds"):
            one_seed_each(seeds)


def test_a_command_is_shown_as_a_shell_reads_it():
    assert Step(name="a", arguments=("train", "a=[b,c]", "d=e f")).command == "lara train 'a=[b,c]' 'd=e f'"


def test_the_estimate_counts_the_steps_of_this_attempt(tmp_path):
    phase = chain(tmp_path, "a", "b", steps=100).phases[0]
    one = tmp_path / "a"
    one.mkdir()
    (one / "metrics.jsonl").write_text('{"step": 40}\n')
    progress = Progress(phase, Book(tmp_path), title="test")
    assert "40 of 200 steps, no estimate yet" in progress.line()
    (one / "metrics.jsonl").write_text('{"step": 40}\n{"step": 60}\n{"ste')
    # 20 steps in 60 s, 140 to go
    line = progress.line(now=progress.started + 60)
    assert "60 of 200 steps, about 7 min" in line
    assert "a 60/100" in line


def test_what_the_command_line_trusts_is_handed_on(tmp_path):
    show = Step(name="a", arguments=("-c", "import sys; print(sys.argv[1:])"))
    with trusting(Trust(packages=("my_lab",), remote_code=True)):
        assert Processes([sys.executable]).execute(show, tmp_path / "log", show=False) == 0
    assert (tmp_path / "log").read_text() == "['--allow-package=my_lab', '--trust-remote-code']\n"
