"""Nothing of a hostile folder runs, nothing of this machine is told, no answer is missing, and every answer is ours."""

import os
from collections import Counter

import pytest

from tests.security import sound
from tests.security.attempt import attempt
from tests.security.corpus import CASES, ENVIRONMENT

SECONDS = 10.0
EACH = [pytest.param(case, door, id=f"{case}-{door.__name__}") for case in CASES for door in case.doors]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    os.environ |= ENVIRONMENT
    yield sound.make(tmp_path_factory.mktemp("sound"))
    for name in ENVIRONMENT:
        del os.environ[name]


@pytest.mark.parametrize(("case", "door"), EACH)
def test_a_hostile_folder_is_refused(world, tmp_path, case, door):
    here = sound.copy(world, tmp_path / "world")
    case.make(here)
    result, said = attempt(here, door, seconds=SECONDS)
    assert result in (("refused", "loaded") if case.harmless else ("refused",)), said[-2000:]


def test_the_corpus_is_as_large_as_it_claims():
    kinds = Counter(case.kind for case in CASES)
    before = Counter(case.before for case in CASES)
    assert len(CASES) >= 60
    assert len(kinds) >= 12
    assert set(before) == {"executed", "leaked", "hung", "crashed", "control"}
    assert len({str(case) for case in CASES}) == len(CASES)
    assert {door.__name__ for case in CASES for door in case.doors} >= {
        "load_policy", "load_lam", "start_from", "inherit", "go_on", "label", "probe", "export_policy", "export_lam",
        "import_moto", "compare", "labels", "dataset",
    }  # fmt: skip


def test_the_sound_folder_passes_where_the_hostile_are_refused(world, tmp_path):
    """Otherwise everything would be refused for a reason of its own."""
    from tests.security import doors

    for door in (doors.load_policy, doors.load_lam, doors.start_from, doors.go_on, doors.export_lam, doors.compare):
        result, said = attempt(sound.copy(world, tmp_path / door.__name__), door, seconds=60)
        assert result == "loaded", (door.__name__, said)
