"""Layouts say who sees whom; that nobody sees more is checked on the expert itself, by perturbing and comparing."""

from functools import partial

import pytest
import torch

import lara.policy.tokens as layouts
from lara.errors import ConfigError
from lara.policy.backbone import Tokens
from lara.policy.expert import FlowExpert
from lara.policy.tokens import Interleaved, LatentChunk, LatentThenAction, StateAction, TokenLayout
from tests.tiny import ACTION, STATE, open_gates

LAYOUTS = {
    "state_action": partial(StateAction, horizon=3),
    "latent_action": partial(LatentThenAction, latents=2, horizon=3),
    "latent_chunk": partial(LatentChunk, latents=3),
    "interleaved_one_view": partial(Interleaved, horizon=3, views=1),
    "interleaved": partial(Interleaved, horizon=3, views=2),
}
DIM = 7


def _drawn_in_the_docstring():
    """Name -> rows of 0 and 1, as the module's docstring prints them (two or three masks stand side by side)."""
    text = layouts.__doc__.split("1 = sees):")[1].split("An arrow is one hop")[0]
    found = {}
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if "(" in line]
        if not lines:
            continue
        calls = lines[0].replace("horizon=2)", "horizon=2);").replace("latents=2)", "latents=2);").split(";")
        names = [c.strip() for c in calls if "(" in c]
        starts = [lines[0].index(name) for name in names]
        if len(names) == 1:
            starts = [0]
        for name, start, end in zip(names, starts, [*starts[1:], None], strict=True):
            rows = [
                [c == "1" for c in line[start:end].split("  z the first")[0].split()[1:]]
                for line in block.splitlines()[block.splitlines().index(lines[0]) + 2 :]
            ]
            found[name] = [row for row in rows if row]
    return found


@pytest.mark.parametrize(
    ("call", "layout"),
    [
        ("StateAction(horizon=2)", StateAction(horizon=2)),
        ("LatentThenAction(latents=2, horizon=2)", LatentThenAction(latents=2, horizon=2)),
        ("LatentChunk(latents=2)", LatentChunk(latents=2)),
        ("Interleaved(horizon=2, views=2)", Interleaved(horizon=2, views=2)),
    ],
)
def test_the_docstring_prints_the_real_masks(call, layout):
    assert _drawn_in_the_docstring()[call] == layout.attention().tolist()


def _expert(layout, *, blocks=4):
    torch.manual_seed(0)
    expert = FlowExpert(
        layout=layout,
        width=32,
        heads=4,
        blocks=blocks,
        context_width=16,
        latent_dim=DIM,
        action_dim=ACTION,
        state_dim=STATE,
        slots=3,
    )
    open_gates(expert)
    return expert.eval()


def _inputs(layout, n=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    widths = {name: ACTION if name == "action" else DIM for name in layout.names if name != "state"}
    noisy = {name: torch.randn(n, layout.length(name), w, generator=g) for name, w in widths.items()}
    tau_B = torch.rand(n, generator=g)
    return {
        "noisy": noisy,
        "tau": dict.fromkeys(noisy, tau_B),
        "real": {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in noisy.items()},
        "context": Tokens(torch.randn(n, 4, 16, generator=g), torch.ones(n, 4, dtype=torch.bool)),
        "state_BS": torch.randn(n, STATE, generator=g),
        "embodiment_B": torch.arange(n),
    }


def _answers(expert, inputs):
    """(segment, step) -> what the expert answers at that token; the state answers nothing."""
    velocity, _ = expert(**inputs)
    return {(name, k): v[:, k] for name, v in velocity.items() for k in range(v.shape[1])}


def _perturbed(inputs, token):
    name, step = token
    if name == "state":
        return {**inputs, "state_BS": inputs["state_BS"] + 3}
    changed = inputs["noisy"][name].clone()
    changed[:, step] += 3
    return {**inputs, "noisy": {**inputs["noisy"], name: changed}}


def _reached(layout, *, blocks):
    """Who can feel whom after all self-attention blocks: hops along the mask, and everybody itself."""
    hops = layout.attention() | torch.eye(len(layout.tokens()), dtype=torch.bool)
    reach = torch.eye(len(hops), dtype=torch.bool)
    for _ in range(blocks // 2):
        reach = (hops.float() @ reach.float()) > 0
    return reach


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_token_feels_exactly_those_that_the_mask_lets_reach_it(name):
    """Every token's value is changed in turn: whom the mask hides it from does not move by a bit, all others move."""
    layout = LAYOUTS[name]()
    expert, inputs = _expert(layout), _inputs(layout)
    before = _answers(expert, inputs)
    reach, tokens = _reached(layout, blocks=4), layout.tokens()
    for j, token in enumerate(tokens):
        after = _answers(expert, _perturbed(inputs, token))
        for i, viewer in enumerate(tokens):
            if viewer[0] != "state":
                assert torch.equal(before[viewer], after[viewer]) == (not reach[i, j]), (viewer, token)


@pytest.mark.parametrize("name", ["latent_action", "interleaved_one_view", "interleaved"])
def test_no_action_ever_reaches_a_latent(name):
    """Said apart from the mask, because it is what makes the latents a plan: not by one hop and not by many."""
    layout = LAYOUTS[name]()
    expert, inputs = _expert(layout, blocks=8), _inputs(layout)
    before = _answers(expert, inputs)
    inputs["noisy"]["action"] = inputs["noisy"]["action"] + 3
    after = _answers(expert, inputs)
    assert all(torch.equal(before[t], after[t]) for t in before if t[0] != "action")
    assert not any(torch.equal(before[t], after[t]) for t in before if t[0] == "action")


def test_rotvla_latents_do_not_feel_the_state_and_alam_latents_do():
    for make, feels in ((LAYOUTS["latent_action"], False), (LAYOUTS["interleaved"], True)):
        layout = make()
        expert, inputs = _expert(layout), _inputs(layout)
        before, after = (_answers(expert, x) for x in (inputs, _perturbed(inputs, ("state", 0))))
        latent = (layout.latents[0], 0)
        assert torch.equal(before[latent], after[latent]) != feels


def test_alam_is_causal_over_steps():
    layout = LAYOUTS["interleaved"]()
    expert, inputs = _expert(layout), _inputs(layout)
    before = _answers(expert, inputs)
    for name in (*layout.latents, "action"):
        after = _answers(expert, _perturbed(inputs, (name, 2)))
        assert all(torch.equal(before[t], after[t]) for t in before if t[1] < 2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_not_real_is_seen_by_nobody_else(name):
    layout = LAYOUTS[name]()
    expert, inputs = _expert(layout), _inputs(layout)
    for stream, real in inputs["real"].items():
        real[:, -1] = False
        before = _answers(expert, inputs)
        after = _answers(expert, _perturbed(inputs, (stream, real.shape[1] - 1)))
        assert all(torch.isfinite(v).all() for v in after.values())
        for token, value in before.items():
            if token != (stream, real.shape[1] - 1):
                assert torch.equal(value, after[token]), (stream, token)


def test_a_stream_that_is_not_there_at_all_leaves_numbers_that_are_finite():
    layout = LAYOUTS["latent_action"]()
    expert, inputs = _expert(layout), _inputs(layout)
    inputs["real"]["latent"][0] = False
    velocity, _ = expert(**inputs)
    assert all(torch.isfinite(v).all() for v in velocity.values())


def test_a_segment_without_context_does_not_feel_it():
    full = LAYOUTS["latent_action"]()
    layout = TokenLayout(
        segments=full.segments,
        arrows=(("state", "state", "all"), ("latent", "latent", "all"), ("action", "action", "all")),
        context=("latent",),
    )
    expert, inputs = _expert(layout), _inputs(layout)
    before = _answers(expert, inputs)
    after = _answers(expert, {**inputs, "context": inputs["context"]._replace(x=inputs["context"].x + 1)})
    assert torch.equal(before["action", 0], after["action", 0])
    assert not torch.equal(before["latent", 0], after["latent", 0])


@pytest.mark.parametrize("name", LAYOUTS)
def test_order_and_places_are_inverse(name):
    layout = LAYOUTS[name]()
    written = [(n, k) for n, length in layout.segments for k in range(length)]
    assert tuple(written[i] for i in layout.order()) == layout.tokens()
    for segment in layout.names:
        assert [layout.tokens()[i] for i in layout.places(segment)] == [
            (segment, k) for k in range(layout.length(segment))
        ]


def test_interleaving_puts_the_latents_of_a_step_before_its_action():
    names = [name for name, _ in Interleaved(horizon=2, views=2).tokens()]
    assert names == ["state", *(["latent_1", "latent_2", "action"] * 2)]


def test_a_part_of_a_layout_keeps_its_arrows():
    part = Interleaved(horizon=3, views=2).only("state", "latent_1", "latent_2")
    keep = [i for i, (name, _) in enumerate(Interleaved(horizon=3, views=2).tokens()) if name != "action"]
    assert torch.equal(part.attention(), Interleaved(horizon=3, views=2).attention()[keep][:, keep])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"segments": ()}, "at least one token"),
        ({"segments": (("a", 1), ("a", 2))}, "different names"),
        ({"arrows": (("a", "c", "all"),)}, "says something of"),
        ({"arrows": (("a", "a", "all"), ("a", "a", "past"), ("b", "b", "all"))}, "at most one arrow"),
        ({"arrows": (("a", "a", "some"), ("b", "b", "all"))}, "all, past or now"),
        ({"arrows": (("a", "b", "past"), ("b", "b", "all"))}, "equally many"),
        ({"arrows": (("a", "a", "all"),)}, "have no arrow"),
        ({"interleaved": ("a", "b")}, "interleaved segments"),
    ],
)
def test_layouts_that_make_no_sense_are_refused(wrong, says):
    sound = {
        "segments": (("a", 1), ("b", 2)),
        "arrows": (("a", "a", "all"), ("b", "b", "all")),
        "context": ("a",),
    }
    with pytest.raises(ConfigError, match=says):
        TokenLayout(**{**sound, **wrong})
