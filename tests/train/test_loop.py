"""One step of training: what it computes, what it refuses to do, what it writes down."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from lara.errors import ConfigError, DataError, NonFiniteError, StoreError
from lara.types import Losses
from tests.train.toy import Toy, ToyData, run, same_run, toy_batch


def weights(system):
    return {k: v.clone() for k, v in system.state_dict().items()}


def lines(result):
    return [json.loads(line) for line in (result.output / "metrics.jsonl").read_text().splitlines()]


def test_accumulated_micro_batches_equal_one_big_batch(tmp_path):
    # the encoder's codebook moves once per forward, so it is frozen here; tolerance: float32 sums in another order
    whole, split = Toy(noise=0.0), Toy(noise=0.0)
    run(tmp_path / "whole", system=whole, learn=("policy",), batch_size=8, steps=5)
    run(tmp_path / "split", system=split, learn=("policy",), batch_size=2, accumulate=4, steps=5)
    start = weights(Toy(noise=0.0))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], value, rtol=0, atol=2e-6)
    assert (whole.expert.head.weight - start["expert.head.weight"]).abs().max() > 1e-2


def test_the_total_is_the_weighted_sum(tmp_path):
    result = run(tmp_path, steps=1, log_every=1, weights={"action": 2.0, "align": 0.5, "lam.size": 0.25})
    (line,) = lines(result)
    assert line["loss"] == pytest.approx(2 * line["action"] + 0.5 * line["align"] + 0.25 * line["lam.size"], rel=1e-6)
    assert {"z_std", "grad_norm", "grad_norm/policy.expert", "lr/main", "weight/align", "validation/loss"} <= set(line)


def test_log_lines_are_means_over_their_window(tmp_path):
    each = lines(run(tmp_path / "each", steps=6, log_every=1))
    window = lines(run(tmp_path / "window", steps=6, log_every=3))
    for k, line in enumerate(window):
        for name in ("loss", "action", "grad_norm", "z_std"):
            assert line[name] == pytest.approx(np.mean([e[name] for e in each[3 * k : 3 * k + 3]]), rel=1e-12)


def test_same_seed_same_run_other_seed_other_run(tmp_path):
    a, b, c = (run(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert same_run(a, b) == []
    assert "system.safetensors" in same_run(a, c)


def test_logging_validating_and_saving_change_nothing(tmp_path):
    busy, lazy = Toy(), Toy()
    run(tmp_path / "busy", system=busy, steps=7, log_every=1, validate_every=1, save_every=1)
    run(tmp_path / "lazy", system=lazy, steps=7, log_every=7, validation_limit=0, save_every=7)
    assert all(torch.equal(v, lazy.state_dict()[k]) for k, v in busy.state_dict().items())


def test_validation_repeats_itself(tmp_path):
    found = lines(run(tmp_path, steps=4, log_every=4, validate_every=1, learn=("policy",), lr=1e-30))
    losses = [line["validation/action"] for line in found]
    assert len(losses) == 4
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-6)


class PoisonedGradient(Toy):
    """A finite loss with an infinite gradient."""

    def losses(self, batch, terms):
        losses = super().losses(batch, terms)
        if bool(torch.isin(batch.index_B, torch.tensor(self.poison)).any()):
            bad = self.expert.head.bias.clone()
            bad.register_hook(lambda gradient: gradient * float("inf"))
            losses.terms["action"] = losses.terms["action"] + bad.sum() * 1e-3
        return losses


class PoisonedCode(Toy):
    """A batch that ruins the codebook as well as the loss."""

    def losses(self, batch, terms):
        losses = super().losses(batch, terms)
        if bool(torch.isin(batch.index_B, torch.tensor(self.poison)).any()):
            self.encoder.code.fill_(float("nan"))
        return losses


def samples(step, batch_size=4):
    return next(ToyData().loader(start_step=step, batch_size=batch_size, rank=0, world=1, workers=0)).index_B.tolist()


@pytest.mark.parametrize("kind", [Toy, PoisonedGradient, PoisonedCode])
@pytest.mark.parametrize("log_every", [1, 50])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_non_finite_step_changes_no_bit(tmp_path, kind, log_every, accumulate):
    poison = (samples(2 * accumulate)[1],)  # somewhere in the third update
    system = kind(poison=poison)
    seen = []

    def watch():
        seen.append(weights(system))
        Toy.after_step(system)

    system.after_step = watch
    changes = {"log_every": log_every, "accumulate": accumulate, "validation_limit": 0, "schedule": "constant"}
    result = run(tmp_path, system=system, steps=4, **changes)
    skip = {"target.weight", "target.bias"}  # moves in after_step, as it may
    assert result.nonfinite == 1
    assert all(torch.equal(seen[2][k], v) for k, v in seen[1].items() if k not in skip)
    assert not all(torch.equal(seen[3][k], v) for k, v in seen[2].items() if k not in skip)
    assert all(bool(torch.isfinite(v).all()) for v in system.state_dict().values())
    (report,) = (tmp_path / "nonfinite").iterdir()
    content = json.loads(report.read_text())
    assert report.name == "step-00000002-rank0.json"
    assert content["index_B"] == [samples(2 * accumulate + k) for k in range(accumulate)]
    assert all(np.isfinite(v) for line in lines(result) for v in line.values() if v is not None)


def test_the_average_skips_the_step_too(tmp_path):
    system = Toy(poison=(samples(2)[0],))
    result = run(tmp_path, system=system, steps=3, save_every=1, keep_last=9, validation_limit=0)
    from lara.store.checkpoint import read_checkpoint

    two, three = (read_checkpoint(tmp_path / "checkpoints" / f"step-0000000{k}") for k in (2, 3))
    assert result.nonfinite == 1
    for kind in ("ema", "optimizer"):
        before, after = two.tensors(kind), three.tensors(kind)
        assert all(torch.equal(after[k], v) for k, v in before.items())


def test_too_many_in_a_row_end_the_run_also_across_a_resume(tmp_path):
    poison = tuple(i for step in range(2, 7) for i in samples(step))
    with pytest.raises(NonFiniteError, match="3 non-finite steps in a row, the last at step 4"):
        run(tmp_path / "a", system=Toy(poison=poison), steps=9, log_every=1, save_every=100, nonfinite_limit=3)
    assert not (tmp_path / "a" / "checkpoints").exists()
    changes = {"log_every": 1, "nonfinite_limit": 3, "schedule_steps": 9}
    run(tmp_path / "b", system=Toy(poison=poison), steps=4, **changes)
    with pytest.raises(NonFiniteError, match="last at step 4"):
        run(tmp_path / "b", system=Toy(poison=poison), steps=9, **changes)


def test_single_bad_steps_do_not_add_up(tmp_path):
    poison = tuple(samples(step)[0] for step in (1, 3, 5))
    result = run(tmp_path, system=Toy(poison=poison), steps=7, nonfinite_limit=2)
    assert result.nonfinite == 3


def test_the_first_batch_is_there_to_be_looked_at(tmp_path):
    run(tmp_path, steps=1)
    batch = toy_batch(np.array(samples(0)))
    folder = tmp_path / "first_batch"
    for b in range(4):
        image = np.asarray(Image.open(folder / f"sample{b}-camera0.png"))
        assert np.array_equal(image, batch.observation.images_BVCHW[b, 0].permute(1, 2, 0).numpy())
        assert (folder / f"sample{b}-frame1-camera0.png").exists()
    about = json.loads((folder / "batch.json").read_text())
    assert about["tensors"]["actions_BHA"]["shape"] == list(batch.actions_BHA.shape)
    assert about["first_samples"]["instruction"] == list(batch.observation.instruction)


class Mute(Toy):
    def losses(self, batch, terms):
        losses = super().losses(batch, terms)
        return Losses({k: v for k, v in losses.terms.items() if k != "align"}, losses.metrics)


class Short(ToyData):
    def loader(self, **arguments):
        yield next(super().loader(**arguments))


def test_broken_promises_are_named(tmp_path):
    with pytest.raises(ConfigError, match="exactly the terms asked for"):
        run(tmp_path / "a", system=Mute())
    with pytest.raises(DataError, match="endless"):
        run(tmp_path / "b", data=Short())
    with pytest.raises(ConfigError, match=r"lara\.systems\.system\.System"):
        run(tmp_path / "c", system=object())
    with pytest.raises(ConfigError, match="fsdp2 is not implemented"):
        run(tmp_path / "d", sharding="fsdp2")
    with pytest.raises(ConfigError, match="not implemented"):
        run(tmp_path / "e", activation_checkpointing=True)
    with pytest.raises(ConfigError, match="made of dicts"):
        run(tmp_path / "f", config={"x": object()})


def test_a_full_disk_stops_the_run_and_the_old_checkpoint_serves(tmp_path, monkeypatch):
    import lara.store.checkpoint as checkpoint

    real, calls = checkpoint.save_tensors, []

    def full(path, tensors):
        calls.append(path)
        if len(calls) > 5:  # the second checkpoint
            raise OSError(28, "No space left on device")
        real(path, tensors)

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(StoreError, match="No space"):
        run(tmp_path, steps=6)
    monkeypatch.undo()
    assert checkpoint.load_latest(tmp_path).step == 2
    assert not list(tmp_path.rglob(".tmp-*"))
    assert same_run(run(tmp_path, steps=6), run(tmp_path.with_name("straight"), steps=6)) == []


def test_bf16_trains_with_float32_parameters(tmp_path):
    system = Toy()
    result = run(tmp_path, system=system, steps=20, precision="bf16", log_every=10)
    first, last = lines(result)
    assert last["loss"] < first["loss"]
    assert {p.dtype for p in system.parameters()} == {torch.float32}
