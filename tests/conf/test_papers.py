"""Numbers that a paper states and a recipe must hold: each was once wrong, or is easily made so."""

from lara.config import compose, resolved


def recipe(name, *overrides):
    return resolved(compose("train", [f"experiment={name}", "data.root=x", *overrides]))


def test_alam_weighs_its_five_terms_alike():
    """004, Table 6; the relative laws are ours and stay off."""
    weights = {k: v for k, v in recipe("lam_alam")["stage"]["weights"]["lam"].items() if v is not None}
    assert weights == dict.fromkeys(["reconstruction", "commitment", "lpips", "composition", "reversal"], 1.0)
