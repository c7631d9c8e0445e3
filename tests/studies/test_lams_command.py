"""`lara lams` from a dataset to its three files, at toy size; a second call repeats nothing."""

import json

import pytest

from lara.cli import main
from lara.data.frames.encode import ImageStorage
from tests.data import worlds
from tests.studies.doubles import InThisProcess, Never

SMALL = [
    *("image_size=32", "horizon=2", "stage.steps=2", "data.lam.cameras=[top]", "data.split.validation_fraction=0.3"),
    *("lam.encoder.width=32", "lam.former.width=32", "lam.decoder.width=32", "lam.decoder.layers=1"),
    *("runtime.batch_size=4", "runtime.validate_every=null", "runtime.log_every=1", "data.cache=null"),
]
MODELS = ["demo/lam", "alam/tiny_lam laws=none"]


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.long)])
def test_from_a_dataset_to_three_files_and_nothing_twice(tmp_path, monkeypatch, capsys, processes):
    worlds.write(tmp_path / "data", (17, 12, 15, 13, 14, 16), storage=ImageStorage())
    if not processes:
        monkeypatch.setattr("lara.runs.run.Processes", InThisProcess)
    given = [
        *("lams", f"root={tmp_path}/data", f"output={tmp_path}/out", f"workers={2 if processes else 1}"),
        *("lams=[" + ",".join(f'"{m}"' for m in MODELS) + "]", "overrides=[" + ",".join(f'"{o}"' for o in SMALL) + "]"),
        *("stride=2", "horizons=2", "clips=8", "fit_clips=12", "mlp.epochs=1", "mlp.width=16"),
    ]
    assert main(given) == 0
    assert "lams.html" in capsys.readouterr().out
    family = json.loads((tmp_path / "out" / "lams.json").read_text())
    assert set(family["tables"]) == {
        *("psnr", "ssim", "additivity", "reversal", "degeneration", "actions", "codebook", "cost")
    }
    assert family["models"] == {"demo_lam": "LARA", "alam_tiny_lam_laws_none": "ALAM without laws"}
    for table in family["tables"].values():
        assert {row["model"] for row in table["rows"]} >= set(family["models"])
        # toy frames have two cameras' worth of pixels and real actions, so that every number exists
        assert all(n is not None for row in table["rows"] for cell in row["cells"] for n in cell), table["title"]
    assert family["about"]["horizons"] == [2, 4]
    assert "overrides=" in family["about"]["command"]
    text = (tmp_path / "out" / "lams.md").read_text()
    assert "k = 2 steps" in text
    assert (tmp_path / "out" / "lams.html").read_text().count("<section>") == len(family["tables"]) + 1

    monkeypatch.setattr("lara.runs.run.Processes", Never)
    assert main(given) == 0
    assert (tmp_path / "out" / "lams.md").read_text() == text
