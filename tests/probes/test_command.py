"""Clips of a real dataset, and the two commands from a checkpoint to files."""

import json

import numpy as np
import pytest
import torch

from lara.config.build import build
from lara.data.frames.encode import ImageStorage
from lara.errors import ConfigError, DataError
from lara.probes.clips import latents, predict, sample_clips
from tests.data import flat, worlds
from tests.tiny import tiny_lam, tiny_latbot

LAM = {
    "_target_": "lara.lam.model.LatentActionModel",
    "queries": 2,
    "encoder": {"_target_": "lara.lam.encoders.patches.PatchEncoder", "image_size": 32, "patch": 16, "width": 32},
    "former": {"_target_": "lara.lam.former.MFormer", "_partial_": True, "width": 32, "heads": 4, "layers": 1},
    "space": {"_target_": "lara.latents.vq.VQSpace", "dim": 8, "codes": 16},
    "decoder": {
        "_target_": "lara.lam.decoders.pixel.PixelDecoder",
        "_partial_": True,
        "image_size": 32,
        "patch": 8,
        "width": 32,
        "heads": 4,
        "layers": 1,
    },
}
LENGTHS = (17, 12, 15, 13, 14, 16, 12, 13)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("probed") / "data"
    return root, worlds.write(root, LENGTHS, storage=ImageStorage())


def settings(root):
    return {
        "root": str(root),
        "horizon": 3,
        "cameras": [],
        "lam_cameras": ["wrist", "top"],
        "image_size": 32,
        "action_dim_max": 4,
        "state_dim_max": 4,
        "embodiment": "toy",
        "validation_fraction": 0.3,
        "cache": False,
    }


@pytest.mark.parametrize("view", [0, 1])
def test_clips_hold_the_frames_and_actions_that_they_name(dataset, view):
    root, episodes = dataset
    data = flat.dataset(**settings(root))
    data.prepare()
    clips = sample_clips(data, data.validation_episodes, offsets=(0, 2, 7), limit=12, view=view)
    assert len(clips) == 12
    assert set(clips.episode_N.tolist()) <= set(data.validation_episodes)
    begins = np.cumsum((0, *LENGTHS))
    for n in range(len(clips)):
        k = int(clips.episode_N[n])
        t = int(clips.start_N[n] - begins[k])
        shown = [worlds.read_picture(clips.frame(o)[n].permute(1, 2, 0).numpy()) for o in (0, 2, 7)]
        assert shown == [(k, t + o, 1 - view) for o in (0, 2, 7)]
        np.testing.assert_array_equal(clips.actions_NHA[n], episodes[k].actions[t : t + 7])
        assert clips.tasks[int(clips.task_N[n])] == episodes[k].task
    again = sample_clips(data, data.validation_episodes, offsets=(0, 2, 7), limit=12, view=view)
    assert torch.equal(again.start_N, clips.start_N)
    everything = sample_clips(data, data.validation_episodes, offsets=(0, 2, 7), limit=10**6, view=view)
    assert len(everything) == sum(LENGTHS[k] - 7 for k in data.validation_episodes)


def test_clips_that_cannot_be_are_refused(dataset):
    data = flat.dataset(**settings(dataset[0]))
    with pytest.raises(DataError, match="at least two"):
        sample_clips(data, [0, 1], offsets=(0, 40), limit=4)
    with pytest.raises(ConfigError, match="ascend from 0"):
        sample_clips(data, [0], offsets=(1, 2), limit=4)
    with pytest.raises(ConfigError, match="view 2"):
        sample_clips(data, [0], offsets=(0, 2), limit=4, view=2)


def test_latents_and_predictions_do_not_depend_on_how_they_are_batched():
    lam = tiny_lam().eval()
    frames = torch.randint(0, 256, (40, 3, 3, 32, 32), dtype=torch.uint8)
    z = latents(lam, frames, [(0, 1), (2, 0)])
    with torch.no_grad():
        torch.testing.assert_close(z[1], lam.encode(frames[:, [2, 0]]).z_BQD, atol=1e-5, rtol=1e-4)
        whole = lam.decode(frames[:, 0], lam.space.bottleneck(z[0], torch.ones(40, dtype=torch.bool)).z)
    painted = predict(lam, frames[:, 0], z[0])
    torch.testing.assert_close(painted, (whole * 0.5 + 0.5).clamp(0, 1), atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """A checkpoint of an untrained tiny LAM that remembers its data."""
    from lara.store.checkpoint import write_checkpoint
    from lara.systems.lam import LamSystem
    from lara.train.parts import part_paths

    system, output = LamSystem(lam=tiny_lam()), tmp_path_factory.mktemp("run")
    records = {name: {} for name in ("optimizer", "data", "versions")}
    records |= {"train": {"step": 7}, "parts": part_paths(system)}
    records["config"] = {
        "system": {"_target_": "lara.systems.lam.LamSystem", "lam": LAM},
        "data": flat.config(**settings(dataset[0])),
    }
    tensors = {"system": system.state_dict(), "optimizer": {}, "rng": {}}
    write_checkpoint(output, step=7, tensors=tensors, records=records, keep_last=1)
    return output


def test_the_command_writes_every_probe_as_json_and_one_page(run, tmp_path, capsys):
    from lara.commands.probe import main
    from lara.probes.run import PROBES

    small = ["clips=10", "fit_clips=20", "horizons=3", "mlp.epochs=2", "mlp.width=16", "classify.epochs=1"]
    assert main([f"checkpoint={run}", f"output={tmp_path}", *small]) == 0
    record = json.loads((tmp_path / "probes.json").read_text())
    assert list(record["probes"]) == list(PROBES)
    assert record["not_applicable"] == {}
    assert record["step"] == 7
    assert record["probes"]["determinism"]["max_difference"] == 0
    for name in ("algebra", "horizons", "degeneration", "linear", "mlp", "classify", "map2d"):
        assert "other_latent" in record["probes"][name]["rows"]
    assert "uniform_codes" in record["probes"]["codebook"]["rows"]
    page = (tmp_path / "probes.html").read_text()
    assert page.count("<section>") == len(PROBES)
    # self-contained: nothing is fetched, not even a font
    assert 'src="http' not in page
    assert "<script" not in page
    assert "probes.html" in capsys.readouterr().out


def test_a_probe_that_does_not_apply_is_listed_with_its_reason(run, tmp_path):
    from lara.commands.probe import main

    # no held-out episode is 40 * 3 steps long
    given = [f"checkpoint={run}", f"output={tmp_path}", "probe=[codebook,algebra]", "horizons=40", "clips=10"]
    assert main(given) == 0
    record = json.loads((tmp_path / "probes.json").read_text())
    assert list(record["probes"]) == ["codebook"]
    assert "at least two are needed" in record["not_applicable"]["algebra"]
    assert "at least two are needed" in (tmp_path / "probes.html").read_text()
    assert main([*given[:2], "probe=[algebra]", "horizons=40"]) == 1


def test_a_model_that_reads_words_and_state_is_probed_too(dataset, tmp_path):
    """LatBot's: every probe runs or says why not; motion and scene stand apart in the action probes."""
    from lara.commands.probe import main
    from lara.probes.run import PROBES
    from lara.store.checkpoint import write_checkpoint
    from lara.train.parts import part_paths

    sizes = {"image_size": 32, "patch": 16, "width": 32, "heads": 4, "layers": 1}
    stream = {"_target_": "lara.lam.decoders.unified.PatchStream", "_partial_": True, **sizes}
    lam = {
        "_target_": "lara.lam.latbot.LatBotLam",
        "former": {"_target_": "lara.lam.formers.instructed.InstructedFormer", "_partial_": True, **sizes},
        "space": {"_target_": "lara.latents.scene_motion.SceneMotionSpace", "dim": 8, "scene": 2, "motion": 3},
        "decoder": {
            "_target_": "lara.lam.decoders.unified.UnifiedDecoder",
            "_partial_": True,
            "stream": stream,
            "width": 32,
            "heads": 4,
            "horizon": 3,
            "action_dim": 4,
            "state_dim": 2,
        },
    }
    config = {
        "_target_": "lara.systems.lam.LamSystem",
        "lam": lam,
        "objective": {"_target_": "lara.systems.objectives.clips.Clips"},
    }
    system = build(config)
    records = {name: {} for name in ("optimizer", "data", "versions")}
    records |= {"train": {"step": 7}, "parts": part_paths(system)}
    data = flat.config(**settings(dataset[0]))
    records["config"] = {"system": config, "data": data}
    tensors = {"system": system.state_dict(), "optimizer": {}, "rng": {}}
    write_checkpoint(tmp_path / "run", step=7, tensors=tensors, records=records, keep_last=1)
    small = ["clips=10", "fit_clips=20", "horizons=3", "mlp.epochs=2", "mlp.width=16", "classify.epochs=1"]
    assert main([f"checkpoint={tmp_path / 'run'}", f"output={tmp_path / 'out'}", *small]) == 0
    record = json.loads((tmp_path / "out" / "probes.json").read_text())
    assert set(record["not_applicable"]) == {"codebook", "attention"}
    assert set(record["probes"]) == set(PROBES) - {"codebook", "attention"}
    assert {"scene_tokens", "motion_tokens"} <= set(record["probes"]["linear"]["rows"])
    assert "no group" in record["probes"]["algebra"]["operation"]


def test_words_and_state_are_never_made_up():
    lam = tiny_latbot().eval()
    frames = torch.randint(0, 256, (40, 3, 3, 32, 32), dtype=torch.uint8)
    words = [f"open {k}" for k in range(40)]
    z = latents(lam, frames, [(0, 1), (2, 0)], words)
    with torch.no_grad():
        torch.testing.assert_close(z[1], lam.encode(frames[:, [2, 0]], words).z_BQD, atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="reads the instruction"):
        latents(lam, frames, [(0, 1)])
    with pytest.raises(ConfigError, match="reads the state"):
        predict(lam, frames[:, 0], z[0])
    states = torch.randn(40, 5)
    painted = predict(lam, frames[:, 0], z[0], states)
    torch.testing.assert_close(predict(lam, frames[:1, 0], z[0][:1], states[:1]), painted[:1], atol=1e-5, rtol=1e-4)


def test_a_wrong_probe_name_is_answered_with_the_nearest_right_one(run, tmp_path):
    from lara.commands.probe import main

    with pytest.raises(ConfigError, match="'algebra'"):
        main([f"checkpoint={run}", f"output={tmp_path}", "probe=[algebr]"])


def test_a_result_in_json_has_no_pictures_and_no_nan():
    from dataclasses import dataclass

    from lara.probes.result import Result

    @dataclass(frozen=True, kw_only=True)
    class One(Result):
        a: float
        b: list[float]
        c: bytes

    @dataclass(frozen=True, kw_only=True)
    class Two(Result):
        rows: dict[str, One]
        n: np.ndarray

    made = Two(rows={"x": One(a=float("nan"), b=[1.0, float("inf")], c=b"png")}, n=np.arange(2)).json()
    assert made == {"rows": {"x": {"a": None, "b": [1.0, None]}}, "n": [0, 1]}
    json.dumps(made, allow_nan=False)
