"""Laws of `lara.attach`: it reads one token of one layer, teaches it and the LAM, and leaves nothing behind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import lara
from lara.errors import ConfigError
from lara.plugins.attach import add_to_loss
from tests.plugins.strangers import HORIZON, WIDTH, frames, inputs, stranger
from tests.tiny import tiny_lam

ALIGN_ONLY = {"align": 1.0}


def attached(policy, *, tap="layers.1", width=WIDTH, **settings):
    return lara.attach(policy, tiny_lam(), tap=tap, width=width, **settings)


def backward(model, policy_only=False, **given):
    """Gradients of one step by name; the noise is the same in every call."""
    torch.manual_seed(5)
    model.zero_grad(set_to_none=True)
    out = model(*inputs(), lara=frames(**given))
    (out if isinstance(out, torch.Tensor) else out["loss"]).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def of_align_alone(**settings):
    """Gradients of the alignment term: the loss itself is dropped."""
    policy = stranger()
    model = attached(policy, weights=ALIGN_ONLY, add=lambda output, extra: extra, **settings)
    return policy, backward(model)


def test_importing_lara_does_not_import_torch():
    code = "import sys, lara; assert 'torch' not in sys.modules; lara.attach; assert 'torch' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_alignment_teaches_the_layers_up_to_the_tap_the_projector_and_the_lam():
    _, grads = of_align_alone()
    layers = {n.split(".")[2] for n in grads if n.startswith("policy.layers")}
    assert layers == {"0", "1"}
    assert any(n.startswith("align.projector") for n in grads)
    assert any(n.startswith("lam.former") for n in grads)
    assert not any(n.startswith("policy.head") for n in grads)


def test_the_input_of_a_layer_is_the_output_of_the_one_before():
    _, output = of_align_alone(tap="layers.1")
    _, entering = of_align_alone(tap="layers.2", point="input")
    assert output.keys() == entering.keys()
    assert all(torch.equal(output[n], entering[n]) for n in output)


def test_only_the_last_real_step_is_read():
    """Moving the hidden state of any other token leaves the alignment as it was."""
    last = 1
    steps = torch.zeros(6, HORIZON, dtype=torch.bool)
    steps[:, : last + 1] = True
    terms = {}
    for moved in range(-1, HORIZON + 1):
        policy = stranger()

        def push(module, args, output, moved=moved):
            shift = torch.zeros_like(output)
            if moved >= 0:
                shift[:, moved] = torch.arange(WIDTH, dtype=torch.float32)
            return output + shift

        policy.layers[1].register_forward_hook(push)
        model = attached(policy)
        torch.manual_seed(5)
        model(*inputs(), lara=frames(steps=steps))
        terms[moved] = model.terms["align"]
    state_token = 1
    changed = {moved for moved, value in terms.items() if not torch.equal(value, terms[-1])}
    assert changed == {state_token + last}


@pytest.mark.parametrize("token", [-1, HORIZON, lambda h: h[:, -1]])
def test_an_index_and_a_function_name_the_same_token_as_a_full_mask(token):
    _, full = of_align_alone()
    _, named = of_align_alone(token=token)
    assert all(torch.equal(full[n], named[n]) for n in full)


def test_samples_without_a_real_step_or_later_frame_are_not_aligned():
    steps = torch.ones(6, HORIZON, dtype=torch.bool)
    steps[2] = False
    real = torch.ones(6, dtype=torch.bool)
    real[4] = False
    seen = []
    for seed in (0, 9):
        pixels = frames().frames.clone()
        pixels[[2, 4]] = frames(seed=seed).frames[[2, 4]]
        model = attached(stranger(), weights=ALIGN_ONLY)
        torch.manual_seed(5)
        model(*inputs(), lara=frames(frames=pixels, steps=steps, real=real))
        seen.append(model.terms["align"])
    assert torch.equal(*seen)
    pixels[0] = frames(seed=9).frames[0]
    torch.manual_seed(5)
    model(*inputs(), lara=frames(frames=pixels, steps=steps, real=real))
    assert not torch.equal(seen[0], model.terms["align"])


def test_a_batch_that_the_policy_repeats_meets_each_sample_s_own_latent():
    model = attached(stranger(repeats=3), weights=ALIGN_ONLY, add=lambda output, extra: extra)
    kept = []
    model.align.objective.register_forward_pre_hook(lambda module, args: kept.append(args))
    backward(model)
    z, p, _ = kept[0]
    assert len(z) == len(p) == 18
    assert torch.equal(z[:6], z[6:12])
    assert not torch.equal(z[0], z[1])


@pytest.mark.parametrize("shape", ["tensor", "dict", "tuple"])
def test_our_terms_are_added_to_the_policy_s_loss(shape):
    plain = stranger(shape=shape)
    torch.manual_seed(5)
    alone = plain(*inputs())
    model = attached(stranger(shape=shape))
    torch.manual_seed(5)
    joint = model(*inputs(), lara=frames())
    pick = {"tensor": lambda x: x, "dict": lambda x: x["loss"], "tuple": lambda x: x[0]}[shape]
    extra = sum(model.weights[n] * model.terms[n] for n in model.weights)
    assert type(alone) is type(joint)
    torch.testing.assert_close(pick(joint), pick(alone) + extra)
    assert set(model.terms) == {"align", "lam.reconstruction", "lam.commitment"}


@pytest.mark.parametrize("recompute", ["new"])
def test_checkpointing_changes_no_gradient(recompute):
    without = backward(attached(stranger()))
    with_ = backward(attached(stranger(recompute=recompute)))
    assert without.keys() == with_.keys()
    assert all(torch.equal(without[n], with_[n]) for n in without)


def test_reentrant_checkpointing_is_refused_with_the_way_out():
    model = attached(stranger(recompute="old"))
    with pytest.raises(ConfigError, match="use_reentrant=False"):
        model(*inputs(), lara=frames())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_policy_that_is_only_a_target_may_run_without_gradients():
    model = attached(stranger(recompute="old"), stop_gradient="policy", weights=ALIGN_ONLY)
    model(*inputs(), lara=frames())
    assert torch.isfinite(model.terms["align"])


def test_a_compiled_policy_gives_the_same_gradients():
    plain = backward(attached(stranger()))
    policy = stranger()
    policy.compile(backend="aot_eager")
    compiled = backward(attached(policy))
    assert plain.keys() == compiled.keys()
    for name in plain:
        torch.testing.assert_close(plain[name], compiled[name], rtol=1e-5, atol=1e-7)


def test_in_eval_mode_it_is_the_policy_and_the_lam_does_not_run():
    policy = stranger().eval()
    alone = policy(*inputs())
    model = attached(policy).eval()
    model.lam.register_forward_pre_hook(lambda *a: pytest.fail("the LAM ran"))
    assert torch.equal(model(*inputs()), alone)
    assert torch.equal(model(*inputs(), lara=frames()), alone)
    assert not model.terms


def test_a_policy_trained_beside_a_lam_without_weight_and_detached_equals_one_never_wrapped():
    """The random stream, the order of updates, the state dict, the hooks: nothing of ours stays behind."""

    def trained(wrap):
        policy = stranger()
        lam = tiny_lam()
        torch.manual_seed(8)
        model = lara.attach(policy, lam, tap="layers.1", width=WIDTH, weights={"align": 0.0}) if wrap else policy
        optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
        for k in range(3):
            loss = model(*inputs(seed=k), lara=frames(seed=k)) if wrap else model(*inputs(seed=k))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model.detach() if wrap else policy

    never, once = trained(False), trained(True)
    assert list(never.state_dict()) == list(once.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(never.state_dict().values(), once.state_dict().values(), strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in once.modules())
    assert torch.equal(never.eval()(*inputs()), once.eval()(*inputs()))


def test_attached_in_the_middle_of_a_failed_forward_keeps_nothing():
    model = attached(stranger())
    with pytest.raises(RuntimeError):
        model(torch.randn(6, 99), torch.randn(6, HORIZON, 3), lara=frames())
    assert not model._capture._armed
    assert not model._capture._found
    assert backward(model)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tap": "layers.9"}, "Did you mean"),
        ({"tap": "layers.1", "width": None}, "give width="),
        ({"tap": "layers.1", "weights": {"lam.lpips": 1.0, "align": 1.0}}, "lam.lpips"),
        ({"tap": "layers.1", "point": "middle"}, "output|input"),
    ],
)
def test_what_cannot_be_attached_is_said_at_once_and_leaves_no_hook(settings, said):
    policy = stranger()
    with pytest.raises(ConfigError, match=re.escape(said)):
        attached(policy, **settings)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in policy.modules())


@pytest.mark.parametrize(
    ("settings", "given", "said"),
    [
        ({}, {"steps": None}, "needs Frames(steps="),
        ({"first_action": 2}, {}, "do not fit"),
        ({"token": lambda h: h[:, 0], "select": 3, "tap": "layers.1", "point": "input"}, {}, "has no item"),
        ({}, {"frames": frames(4).frames}, "no multiple of the 4 samples"),
    ],
)
def test_what_does_not_fit_the_tap_is_refused(settings, given, said):
    if said == "has no item":
        settings = {**settings, "select": "hidden_states"}
    with pytest.raises(ConfigError, match=re.escape(said)):
        attached(stranger(), **settings)(*inputs(), lara=frames(**given))


def test_a_module_that_never_runs_and_one_that_runs_twice_are_refused():
    policy = stranger()
    policy.unused = nn.Linear(WIDTH, WIDTH)
    with pytest.raises(ConfigError, match="ran 0 times"):
        attached(policy, tap="unused")(*inputs(), lara=frames())
    twice = stranger()
    twice.layers[2] = twice.layers[1]
    with pytest.raises(ConfigError, match="ran 2 times"):
        attached(twice)(*inputs(), lara=frames())


def test_training_without_frames_is_refused():
    with pytest.raises(ConfigError, match="lara=Frames"):
        attached(stranger())(*inputs())


def test_an_output_without_a_loss_is_refused_and_none_is_changed_in_place():
    with pytest.raises(ConfigError, match="without a scalar loss"):
        add_to_loss({"actions": torch.zeros(3)}, torch.ones(()))
    given = {"loss": torch.zeros(())}
    assert add_to_loss(given, torch.ones(()))["loss"] == 1.0
    assert given["loss"] == 0.0


def test_the_readme_s_lines_run():
    """The snippet of README.md, with this test's policy in the place of the reader's."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    block = re.search(r"<!-- attach -->\n```python\n(.*?)```", text, re.S)
    assert block, "README.md has no python block after <!-- attach -->"
    code = block.group(1)
    assert len([line for line in code.splitlines() if line.strip()]) < 10
    state, actions = inputs()
    batch = {"state": state, "actions": actions, "frames": frames().frames, "mask": frames().steps}
    policy = stranger()
    before = {n: p.clone() for n, p in policy.named_parameters()}
    names = {"policy": policy, "lam": tiny_lam(), "loader": [batch] * 2, "torch": torch}
    exec(compile(code, "README.md", "exec"), names)
    assert names["policy"] is policy
    assert any(not torch.equal(p, before[n]) for n, p in policy.named_parameters())
