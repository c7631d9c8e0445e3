"""If this fails and you meant to change the numbers: `make golden`, read the diff, say why in the commit."""

import json

import pytest

from tests.golden.refresh import FILES, losses

# Measured between one and two threads: 5.4e-6 relative. Another processor's kernels may differ by many times that; a
# changed mask, sign or weight moves a term by far more than 1e-3.
RELATIVE = 1e-3
GOLDEN = {file: json.loads(file.read_text()) for file in FILES}
ALL = [pytest.param(file, name, id=name) for file, systems in FILES.items() for name in systems]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_composition_has_golden_losses(file):
    assert set(GOLDEN[file]) == set(FILES[file])


@pytest.mark.parametrize(("file", "name"), ALL)
def test_losses_are_the_recorded_ones(file, name):
    for step, (now, then) in enumerate(zip(losses(FILES[file][name]), GOLDEN[file][name], strict=True)):
        assert set(now) == set(then)
        for term, value in then.items():
            assert now[term] == pytest.approx(value, rel=RELATIVE, abs=1e-6), f"{name}, step {step}, {term}"
