"""pi0, pi0.5 and SmolVLA compute what lerobot 0.4.4 computes, with the same weights."""

import pytest
import torch

from lara.ops.flow import flip_time, flip_velocity, path
from lara.policy.hosts.pi.prompt import task, task_and_state
from lara.policy.hosts.shared.images import letterbox
from lara.policy.hosts.smolvla.prompt import task_as_it_is
from lara.types import Observation
from tests.hosts.parity import ABSENT, PYTHON, TOLERANCE, error, run_vendor
from tests.policy.hosts.tiny_native import HOSTS, tiny_host

pytestmark = [pytest.mark.hosts, pytest.mark.skipif(not PYTHON.exists(), reason=ABSENT)]
AGAINST = "lerobot 0.4.4"
DEAD = ("lm_head.weight",)
# the sizes that vendor_pi.py gives its tiny models
PI = {"layers": 3, "heads": 8, "key_heads": 1, "patch": 16}
SMOL = {"layers": 3, "heads": 4, "key_heads": 2, "patch": 8}
SIZES = {
    "vision_width": 16,
    "vision_mlp": 24,
    "vision_layers": 2,
    "vision_heads": 2,
    "width": 24,
    "mlp": 40,
    "horizon": 5,
    "state_dim": 7,
    "prompt_length": 9,
}


class GivenTokens:
    """The ids that the vendor's model was given."""

    def __init__(self, ids, mask):
        self.answer = ids, mask

    def __call__(self, texts, length):
        return self.answer


@pytest.fixture(scope="module", params=HOSTS)
def pair(request, tmp_path_factory):
    name = request.param
    theirs = run_vendor("vendor_pi.py", name, tmp_path_factory.mktemp(name))
    inputs = theirs.inputs
    own = SMOL | {"expert_width": 18, "expert_mlp": 256} if name == "smolvla" else PI
    host = tiny_host(
        name, **SIZES, **own, tokenizer=GivenTokens(inputs["ids"], inputs["mask"].bool()), noise_in_padding=True
    )
    host.load_vendor(theirs.weights)
    observation = Observation(
        images_BVCHW=inputs["images"],
        state_BS=inputs["state"],
        instruction=tuple(theirs.meta["sentences"]),
        embodiment_B=torch.zeros(3, dtype=torch.long),
        action_dims_BA=torch.ones(3, 6, dtype=torch.bool),
    )
    return name, host.eval(), observation, theirs


def test_velocity_loss_and_every_state(pair, table):
    name, host, observation, theirs = pair
    inputs = theirs.inputs
    # the time itself is given, because 1 - (1 - t) in float32 moves the fastest wave by 1e-4
    time = inputs["time"]
    sample = path(inputs["actions"], inputs["noise"], flip_time(time))
    valid = torch.ones(3, 5, dtype=torch.bool)
    velocity, states = host.denoise(host.embed_prefix(observation), sample.x, observation.state_BS, time, valid)
    loss = (flip_velocity(velocity) - sample.velocity).square().mean()
    blocks = [f"block_{k}" for k in range(1, theirs.meta["layers"] + 1)]
    assert set(states) == {*blocks, "norm_out"} == set(theirs.outputs) & set(states)
    table.note(name, AGAINST, "velocity", error(velocity, theirs.outputs["velocity"]), TOLERANCE)
    table.note(name, AGAINST, "loss", error(loss, theirs.outputs["loss"]), TOLERANCE)
    worst = max(error(states[key], theirs.outputs[key]) for key in blocks)
    table.note(name, AGAINST, f"residual stream after each of {len(blocks)} blocks", worst, TOLERANCE)
    table.note(name, AGAINST, "norm_out", error(states["norm_out"], theirs.outputs["norm_out"]), TOLERANCE)


@pytest.mark.parametrize("steps", [1, 4])
def test_sampled_actions(pair, table, steps):
    name, host, observation, theirs = pair
    with torch.no_grad():
        ours = host.integrate(observation, theirs.inputs["noise"], steps=steps)
    worst = error(ours, theirs.outputs[f"sampled_{steps}"])
    table.note(name, AGAINST, f"actions after {steps} Euler step{'s' * (steps > 1)}", worst, TOLERANCE)


def test_what_comes_before_the_model(pair, table):
    name, host, observation, theirs = pair
    place = "bottom_right" if name == "smolvla" else "centre"
    ours = letterbox(theirs.inputs["wide"], 32, place=place)
    table.note(
        name, AGAINST, "a 20 x 45 image resized with padding", error(ours, theirs.outputs["letterbox"]), TOLERANCE
    )
    prompts, sentences = theirs.meta["prompts"], theirs.meta["sentences"]
    if name == "pi05":
        assert host.prompts(observation) == prompts
        assert [task_and_state(s, x) for s, x in zip(sentences, observation.state_BS, strict=True)] == prompts
    elif name == "smolvla":
        assert [task_as_it_is(s.strip()) for s in sentences] == prompts
    else:
        assert task(sentences[0]) == prompts[0]


def test_weights_go_there_and_back_without_a_bit_changed(pair, table):
    """Except for language heads, which act nowhere and are written as zeros (or as the words they are tied to)."""
    name, host, _, theirs = pair
    back = host.vendor_state_dict()
    assert set(back) == set(theirs.weights)
    assert all(value.shape == theirs.weights[key].shape for key, value in back.items())
    acting = [key for key in back if not key.endswith(DEAD)]
    assert len(acting) >= len(back) - 2
    changed = [key for key in acting if not torch.equal(back[key], theirs.weights[key])]
    assert not changed
    table.note(name, AGAINST, f"{len(acting)} tensors written back", 0.0, 0.0)
