"""Numbers that a paper states and a recipe must hold: each was once wrong, or is easily made so."""

from lara.build import build
from lara.config import compose, resolved


def recipe(name, *overrides):
    return resolved(compose("train", [f"experiment={name}", "data.root=x", *overrides]))


def test_alam_weighs_its_five_terms_alike():
    """004, Table 6; the relative laws are ours and stay off."""
    weights = {k: v for k, v in recipe("lam_alam")["stage"]["weights"]["lam"].items() if v is not None}
    assert weights == dict.fromkeys(["reconstruction", "commitment", "lpips", "composition", "reversal"], 1.0)


def test_alam_skips_frames_and_updates_on_4096_triplets():
    """004, appendix A.1: gaps of 1 to 16 at the effective frame rate, 128 GPUs x 32."""
    config = recipe("lam_alam")
    frames, runtime = build(config["data"]["frames"]), config["runtime"]
    assert (frames.low, frames.high, frames.stride) == (1, 16, 5)
    assert runtime["batch_size"] * runtime["accumulate"] == 4096
