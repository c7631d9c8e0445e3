"""Where the states of lerobot's policies are, on trees of their shape; and the frames out of their batches."""

import functools
import types

import pytest
import torch
from torch import nn

from lara.errors import ConfigError
from lara.plugins.lerobot import PLACES, attach_lerobot, frames_of
from tests.tiny import SIZE, tiny_lam

WIDTH, LAYERS, HORIZON = 16, 4, 4


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.mlp = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + self.mlp(self.input_layernorm(x))


class Fake(nn.Module):
    """A policy with lerobot's module paths, called as lerobot calls them: layers by hand where it does so."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.name, self.places = kind, PLACES[kind]
        self.config = types.SimpleNamespace(compile_model=False)
        for path, module in (
            (self.places.layers, nn.ModuleList(Layer() for _ in range(LAYERS))),
            (self.places.before_final, nn.LayerNorm(WIDTH)),
            (self.places.final, nn.Linear(WIDTH, 3)),
        ):
            *above, last = path.split(".")
            home = functools.reduce(self._child, above, self)
            home.add_module(last, module)
        self.states = []

    @staticmethod
    def _child(module, name):
        if not hasattr(module, name):
            module.add_module(name, nn.Module())
        return getattr(module, name)

    def forward(self, batch):
        x = batch["x"]
        self.states = []
        for layer in self.get_submodule(self.places.layers):
            x = layer(x) if not self.places.between else x + layer.mlp(layer.input_layernorm(x))
            self.states.append(x)
        normed = self.get_submodule(self.places.before_final)(x)
        self.states.append(normed)
        return self.get_submodule(self.places.final)(normed).square().mean(), {"loss": 0.0}


def batch(n=3, **changes):
    g = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, n, 3, SIZE, SIZE, generator=g)
    pad = torch.zeros(n, HORIZON, dtype=torch.bool)
    given = {
        "x": torch.randn(n, 1 + HORIZON, WIDTH, generator=g),
        "observation.images.top": pictures[0],
        "lara.future.top": pictures[1],
        "action": torch.zeros(n, HORIZON, 3),
        "action_is_pad": pad,
    }
    return {**given, **changes}


@pytest.mark.parametrize("kind", sorted(PLACES))
@pytest.mark.parametrize("depth", [1, LAYERS - 2, LAYERS, -2, 0])
def test_a_depth_reads_the_state_after_that_layer_at_the_last_real_step(kind, depth):
    policy = Fake(kind)
    model = attach_lerobot(policy, tiny_lam(), depth=depth, width=WIDTH)
    read = []
    model.align.projector.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    pad = torch.zeros(3, HORIZON, dtype=torch.bool)
    pad[:, 2:] = True
    given = batch(action_is_pad=pad)
    loss, info = model(given, lara=frames_of(given, camera="observation.images.top"))
    loss.backward()
    after = LAYERS + 1 if depth == 0 else LAYERS + depth if depth < 0 else depth
    first = PLACES[kind].first_action
    step = (1 if first is None else first) + 1
    assert torch.equal(read[0], policy.states[after - 1][:, step])
    assert info == {"loss": 0.0}


def test_the_paper_s_depths_are_the_defaults():
    for kind, depth in {"pi0": 0, "pi05": 0, "smolvla": 0, "groot": -2, "xvla": -2}.items():
        default = attach_lerobot(Fake(kind), tiny_lam(), width=WIDTH)
        named = attach_lerobot(Fake(kind), tiny_lam(), width=WIDTH, depth=depth)
        assert (default._capture.tap, default._capture.point) == (named._capture.tap, named._capture.point)


@pytest.mark.parametrize("change", [{"name": "act"}, {"config": types.SimpleNamespace(compile_model=True)}])
def test_what_cannot_be_read_is_refused(change):
    policy = Fake("pi05")
    vars(policy).update(change)
    with pytest.raises(ConfigError, match=r"no places are known|compile_model"):
        attach_lerobot(policy, tiny_lam(), width=WIDTH)


@pytest.mark.parametrize("depth", [LAYERS + 1, -LAYERS])
def test_a_depth_without_a_layer_is_refused(depth):
    with pytest.raises(ConfigError, match="names no layer"):
        attach_lerobot(Fake("groot"), tiny_lam(), depth=depth, width=WIDTH)


def test_frames_are_bytes_and_what_is_padded_is_not_real():
    pad = torch.zeros(3, HORIZON, dtype=torch.bool)
    pad[1, 1:] = True
    given = batch(action_is_pad=pad, **{"lara.future.top_is_pad": torch.tensor([[False], [True], [False]])})
    frames = frames_of(given, camera="observation.images.top")
    assert frames.frames.dtype == torch.uint8
    assert frames.frames.shape == (3, 2, 3, SIZE, SIZE)
    torch.testing.assert_close(frames.frames[:, 1].float() / 255, given["lara.future.top"], atol=0.5 / 255, rtol=0)
    assert torch.equal(frames.steps, ~pad)
    assert frames.real.tolist() == [True, False, True]
    again = frames_of({**given, "observation.images.top": frames.frames[:, 0]}, camera="observation.images.top")
    assert torch.equal(again.frames[:, 0], frames.frames[:, 0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lara.future.top": torch.rand(3, 2, 3, SIZE, SIZE)}, "one picture per sample"),
        ({"lara.future.top": torch.rand(3, 3, SIZE, SIZE + 1)}, "lara.future.top"),
    ],
)
def test_pictures_of_another_kind_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        frames_of(batch(**change), camera="observation.images.top")
    with pytest.raises(ConfigError, match="the batch has no"):
        frames_of(batch(), camera="observation.images.wrist")
