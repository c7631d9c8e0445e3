"""`lara show` describes without running; what it says is checked against a system that was really built."""

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from lara.cli import main
from lara.config.build import build
from lara.config.compose import compose, resolved
from lara.inspect.footprint import measure
from tests.conf.tiny_configs import batch_for


def _config(*overrides):
    return resolved(compose("train", ["experiment=demo/lara", "data.root=x", "runtime.batch_size=8", *overrides]))


def test_counts_equal_those_of_the_real_system():
    config = _config()
    footprint = measure(config)
    system = build(config["system"])
    for row in footprint.parts:
        assert row.parameters == sum(p.numel() for p in system.parts()[row.name].parameters())
        assert row.learning == row.parameters
    batch = batch_for(config, 8)
    system.eval()
    with FlopCounterMode(display=False) as counter:
        sum(
            system.losses(batch, frozenset({"action", "align", "lam.reconstruction", "lam.commitment"})).terms.values()
        ).backward()
    assert abs(footprint.flops / counter.get_total_flops() - 1) < 0.02


def test_memory_and_flops_are_linear_in_the_batch_and_frozen_parts_need_no_moments():
    small, large = measure(_config()), measure(_config("runtime.batch_size=16"))
    assert large.flops == 2 * small.flops
    assert large.memory["activations of 16 samples"] == 2 * small.memory["activations of 8 samples"]
    frozen = measure(_config("stage.learn=[policy,align]"))
    lam = sum(r.parameters for r in small.parts if r.name.startswith("lam."))
    moments = "optimiser (two moments)"
    assert small.memory[moments] - frozen.memory[moments] == 2 * 4 * lam


def test_the_paper_at_full_size_is_described_without_its_weights(paligemma, capsys):
    assert (
        main(
            [
                "show",
                "experiment=lara/pretrain",
                f"policy.backbone.path={paligemma}",
                "policy.adapter.heads=2",
                "config=false",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "block_14 of 16 blocks" in out
    assert "303,301,632" in out  # ViT-L/16, 24 blocks of width 1024
    assert "frozen" in out
    assert torch.get_default_device().type == "cpu"


def test_show_prints_the_resolved_configuration(capsys):
    assert main(["show", "experiment=demo/lara"]) == 0
    out = capsys.readouterr().out
    assert "root: (to be given)" in out
    assert "_target_: lara.systems.lara.Lara" in out
    assert "${" not in out


def test_measuring_leaves_the_configuration_as_it_was():
    config = _config()
    before = copy.deepcopy(config)
    measure(config)
    assert config == before


def test_image_text_models_in_a_latent_action_model_and_in_a_student_are_counted(paligemma, sana):
    places = [f"lam.former.path={paligemma}", f"lam.decoder.stream.path={sana}", "lam.decoder.heads=2"]
    small = [*places, "data.root=x", "image_size=32", "runtime.batch_size=8", "runtime.accumulate=1"]
    lam = measure(resolved(compose("train", ["experiment=latbot/lam", *small])))
    joint = [*small, f"policy.backbone.path={paligemma}", "policy.adapter.heads=2"]
    distill = measure(resolved(compose("train", ["experiment=latbot/distill", *joint])))
    assert lam.estimated
    assert distill.estimated
    rows = {row.name: row for row in distill.parts}
    assert rows["policy.backbone"].learning == rows["policy.backbone"].parameters
    assert all(row.learning == 0 for name, row in rows.items() if name.startswith("lam."))
    # at least the forward and backward pass of the 128 latent tokens of each of the 8 samples
    former = next(row for row in lam.parts if row.name == "lam.former")
    assert lam.flops > 6 * former.parameters * 128 * 8
