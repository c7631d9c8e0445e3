"""The recipes of post-training, ended by an export: the base model's names, the trained actions, nothing of the LAM."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lara.cli import main
from lara.config.build import build
from lara.config.compose import choices, compose, resolved
from lara.export.policy import export_policy
from lara.policy.tuning import merge
from lara.serve.load import load_policy_side
from lara.serve.policy import load_policy
from lara.store.checkpoint import read_checkpoint
from tests.export.test_policy import observed
from tests.test_whole_program import SMALL

HOSTS = [name.removeprefix("hosts/") for name in choices("experiment") if name.startswith("hosts/")]
LAM = [o for o in SMALL if not o.startswith("policy.")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("hosts")
    collect = ["collect", "benchmark=toy", "tasks=[reach-red,reach-blue]", "episodes=2", f"output={root}/data"]
    assert main([*collect, "processes=1"]) == 0
    return root / "data"


@pytest.fixture(scope="module", params=HOSTS)
def run(request, data):
    """Two joint steps with adapters, from a base of two steps without a LAM."""
    root = data.parent / request.param
    common = [f"data.root={data}", *LAM, "data.cameras=[top]", "stage.steps=2", "optim.lr=0.01"]
    if request.param == "pi05":  # openpi knows no other
        common += ["data.action_normalizer=quantile", "data.state_normalizer=quantile"]
    recipe = [f"experiment=hosts/{request.param}", "size=tiny"]
    without = [o for o in common if not o.startswith("lam.")]
    assert main(["train", *recipe, "twin=base", *without, f"output={root}/base"]) == 0
    given = [*common, "data.lam.cameras=[top]", f"stage.load.policy={root}/base"]
    assert main(["train", *recipe, "twin=lora", *given, f"output={root}/lora"]) == 0
    return request.param, root


def test_with_adapters_only_they_the_projector_and_the_lam_change(run):
    _, root = run
    base = read_checkpoint(root / "base").weights(ema=False)
    tuned = read_checkpoint(root / "lora").weights(ema=False)
    policy = {k for k in tuned if k.startswith("policy.")}
    frozen = {k for k in policy if "lora_" not in k}
    plain = {k: k.replace(".base_layer.", ".") for k in frozen}
    assert all(torch.equal(tuned[k], base[plain[k]]) for k in frozen)
    assert any(tuned[k].any() for k in policy if "lora_B" in k)
    assert {k.split(".")[0] for k in set(tuned) - policy} == {"lam", "coupling"}


def test_the_export_has_the_base_s_names_the_trained_actions_and_no_byte_of_the_lam(run, tmp_path):
    host, root = run
    native = export_policy(checkpoint=root / "lora", to="native", output=tmp_path / "native")
    trained, exported = load_policy(checkpoint=f"{root}/lora"), load_policy(checkpoint=str(native))
    merge(trained.system.policy)
    assert np.array_equal(trained.act(observed(trained)), exported.act(observed(exported)))
    base = load_policy_side(root / "base")[0].policy
    assert set(load_file(native / "model.safetensors")) == {f"policy.{name}" for name in base.state_dict()}

    records = tmp_path / "records"
    records.mkdir()
    (records / "config.json").write_text("{}")
    vendor = export_policy(checkpoint=root / "lora", to=_format(host, root), output=tmp_path / "vendor", base=records)
    expected = base.vendor_state_dict(prefix="") if _format(host, root) == "openpi" else base.vendor_state_dict()
    written = load_file(vendor / "model.safetensors")
    assert set(written) == set(expected)
    assert all(written[k].shape == expected[k].shape for k in written)

    secret = {
        k: v for k, v in read_checkpoint(root / "lora").weights(ema=True).items() if k.startswith(("lam.", "align."))
    }
    secret = {k: v for k, v in secret.items() if v.numel() >= 8 and len(set(v.flatten().tolist())) > 4}
    for path in (p for folder in (native, vendor) for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert not re.search(rb"\"lam\.|align\.projector|lora_A", content), path
        assert not [k for k, v in secret.items() if v.contiguous().numpy().tobytes() in content], path


def test_what_is_exported_loads_into_the_host_again(run, tmp_path):
    host, root = run
    (tmp_path / "config.json").write_text("{}")
    out = export_policy(checkpoint=root / "lora", to=_format(host, root), output=tmp_path / "out", base=tmp_path)
    config = resolved(
        compose("train", [f"experiment=hosts/{host}", "size=tiny", "twin=base", "data.root=x", *_sizes()])
    )
    policy = build(config["system"])
    policy.policy.load_vendor(str(out))
    system = load_policy_side(root / "lora")[0]
    merge(system.policy)
    theirs = policy.policy.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in system.policy.state_dict().items())


def _sizes():
    return [o for o in LAM if not o.startswith(("lam.", "data.", "stage.", "runtime.", "optim."))]


def _format(host, root):
    """The first package that the policy can be written for; openpi for pi0.5, so that each format has its turn."""
    policy = load_policy_side(root / "base")[0].policy
    return "openpi" if host == "pi05" else next(iter(policy.exports))
