"""Numbers that a paper states and a recipe must hold: each was once wrong, or is easily made so."""

from lara.config.build import build
from lara.config.compose import compose, resolved


def recipe(name, *overrides):
    return resolved(compose("train", [f"experiment={name}", "data.root=x", *overrides]))


def test_alam_weighs_its_five_terms_alike():
    """004, Table 6; the relative laws are ours and stay off. `space` multiplies the space's own weights."""
    config = recipe("alam/lam")
    weights = {k: v for k, v in config["stage"]["weights"]["lam"].items() if v is not None}
    factor = weights.pop("space")
    weights |= {k: factor * v for k, v in build(config["latent"]).default_weights().items()}
    assert weights == dict.fromkeys(["reconstruction", "commitment", "lpips", "composition", "reversal"], 1.0)


def test_alam_skips_frames_and_updates_on_4096_triplets():
    """004, appendix A.1: gaps of 1 to 16 at the effective frame rate, 128 GPUs x 32."""
    config = recipe("alam/lam")
    frames, runtime = build(config["data"]["lam"]["frames"], "data"), config["runtime"]
    assert (frames.low, frames.high, frames.stride) == (1, 16, 5)
    assert runtime["batch_size"] * runtime["accumulate"] == 4096


def test_alam_learns_and_executes_chunks_of_five_on_metaworld():
    """004, appendix B; a chunk of H actions has the latents of H + 1 frames."""
    config = recipe("alam/transfer", "policy.backbone.path=x", "lam_run=x")
    assert (config["horizon"], config["data"]["lam"]["frames"]["count"]) == (5, 6)
    config = resolved(compose("eval", ["protocol=mt50_alam", "client.checkpoint=x", "output=x"]))
    protocol = build(config["protocol"], "run")
    assert (protocol.execute, protocol.episodes, protocol.max_steps, len(protocol.tasks)) == (5, 10, 200, 50)


def test_rotvla_weighs_its_three_predictions_alike():
    """001, Eq. 12: l_1 + l_2 + l_composed, where lam.reconstruction is the mean of the first two."""
    weights = recipe("rotvla/lam")["stage"]["weights"]["lam"]
    assert (weights["reconstruction"], weights["composed"]) == (2.0, 1.0)


def test_recipes_keep_the_weights_that_their_results_were_measured_with():
    """docs/results/lam_family.md, policies.md and lams_four.md."""
    for name, expected in {"rotvla/tiny_so3": (1.0, 0.3), "rotvla/tiny_lam": (1.0, 1.0)}.items():
        weights = recipe(name)["stage"]["weights"]["lam"]
        assert (weights["reconstruction"], weights["composed"]) == expected


def test_rotvla_clips_in_stages_two_and_three_only():
    """001, Table 5."""
    policy = ["policy.backbone.path=x", "lam_run=x"]
    assert recipe("rotvla/lam")["optim"]["clip_norm"] is None
    assert recipe("rotvla/lam", "lam=rotvla_features")["optim"]["clip_norm"] is None
    assert recipe("rotvla/pretrain", *policy)["optim"]["clip_norm"] == 1.0
    assert recipe("rotvla/finetune", *policy, "init=x")["optim"]["clip_norm"] == 1.0
