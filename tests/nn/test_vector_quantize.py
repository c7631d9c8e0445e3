"""Parity with vector-quantize-pytorch, whose state a checkpoint may hold, and what that library does not grant."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from vector_quantize_pytorch import FSQ, SimVQ, VectorQuantize
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to as their_rotate_to

from lara.errors import ConfigError
from lara.latents.fsq import FSQSpace
from lara.latents.simvq import SimVQSpace
from lara.latents.vq import VQSpace
from lara.nn.vector_quantize import VectorQuantizer, _drawn_order
from lara.ops.quantize import nearest_code, rotate_to

D, K, B, Q = 6, 16, 12, 3
KINDS = {
    "ema": {"gradient": False, "rotation_trick": False},
    "ema, rotation trick": {"gradient": False, "rotation_trick": True},
    "gradient": {"gradient": True, "rotation_trick": False},
    "gradient, rotation trick": {"gradient": True, "rotation_trick": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def ours(kind="ema", *, decay=0.9, revive_below=0.0):
    torch.manual_seed(0)
    return VectorQuantizer(dim=D, codes=K, decay=decay, revive_below=revive_below, **KINDS[kind])


def theirs(kind="ema", *, decay=0.9, revive_below=0.0):
    torch.manual_seed(0)
    return VectorQuantize(
        dim=D,
        codebook_size=K,
        decay=decay,
        threshold_ema_dead_code=revive_below,
        learnable_codebook=KINDS[kind]["gradient"],
        ema_update=not KINDS[kind]["gradient"],
        rotation_trick=KINDS[kind]["rotation_trick"],
        commitment_weight=0.0,
    )


def batch(seed, *, masked=True):
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(B, Q, generator=g) < 0.7 if masked else torch.ones(B, Q, dtype=torch.bool)
    return 0.3 * torch.randn(B, Q, D, generator=g) + 0.05 * seed, mask


def states_equal(a, b, **tolerance):
    assert set(a.state_dict()) == set(b.state_dict())
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance)


@every_kind
def test_a_seed_gives_the_same_codes_under_the_same_names(kind):
    states_equal(ours(kind, revive_below=1.0), theirs(kind, revive_below=1.0), rtol=0, atol=0)


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_values_codes_and_gradients_are_the_librarys(kind, training):
    ours_, theirs_ = ours(kind).train(training), theirs(kind).train(training)
    z, mask = batch(1)
    weight, results = torch.randn(B, Q, D), []
    for quantizer, arguments in ((ours_, (mask,)), (theirs_, ())):
        x = z.clone().requires_grad_()
        out, index = quantizer(x, *arguments) if arguments else quantizer(x, mask=mask)[:2]
        results.append((out, index[mask]))
        if training:  # the library hands on no gradient in eval mode
            results[-1] += torch.autograd.grad((out * weight).sum(), x)
    torch.testing.assert_close(results[0], results[1])
    assert (results[0][1] > 0).any()


@every_kind
def test_the_codebook_follows_fifty_batches_as_the_librarys_does(kind):
    # revive_below so low that nothing is revived, for a gradient codebook keeps no averages without it
    ours_, theirs_ = ours(kind, revive_below=1e-9), theirs(kind, revive_below=1e-9)
    start = ours_.codebook.detach().clone()
    for step in range(50):
        z, mask = batch(step)
        ours_(z, mask)
        theirs_(z, mask=mask)
        states_equal(ours_, theirs_, rtol=1e-4, atol=1e-5)
    assert torch.equal(ours_.codebook, start) == KINDS[kind]["gradient"]
    assert not torch.equal(ours_.usage, torch.ones(K))


@pytest.mark.parametrize("make", [ours, theirs])
def test_dead_codes_are_moved_onto_vectors_of_the_batch(make):
    """Which ones is drawn; how many, whence and with which averages is the same law for both."""
    quantizer = make(revive_below=1.0)
    z, mask = batch(1)
    book = quantizer._codebook
    for real in (mask, torch.zeros_like(mask).index_fill(0, torch.tensor([0]), True)):
        left = (0.9 * book.cluster_size[0] + 0.1 * _counts(quantizer, z, real)) < 1.0
        quantizer(z, real) if make is ours else quantizer(z, mask=real)
        vectors = z[real]
        on_a_vector = (book.embed[0][:, None] == vectors[None]).all(-1)
        revived = on_a_vector.any(1)
        assert not (revived & ~left).any()
        assert revived.sum() == min(int(left.sum()), len(vectors))
        assert on_a_vector.sum(0).max() == 1, "two codes on one vector are one code"
        assert (book.cluster_size[0][revived] == 1.0).all()
        torch.testing.assert_close(book.embed_avg[0][revived], book.embed[0][revived])


def _counts(quantizer, z, real):
    return torch.bincount(nearest_code(z, quantizer.codebook)[real], minlength=K)


def test_a_draw_is_a_function_of_the_state_and_moves_on():
    """The same state draws alike whatever the global generators say; the next batch draws anew."""
    z, mask = batch(1, masked=False)
    chosen = []
    for seed in (0, 1):
        quantizer = ours(revive_below=2.0)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        rows = []
        for _ in range(12):
            quantizer(z, mask)
            on = (quantizer.codebook[:, None] == z.flatten(0, 1)[None]).all(-1)
            rows.append(on.any(0))
        assert torch.equal(torch.get_rng_state(), before)
        chosen.append(torch.stack(rows))
    assert torch.equal(*chosen)
    assert not (chosen[0][1:] == chosen[0][:1]).all(1).any()


def test_draws_are_permutations_in_which_every_vector_comes_first_equally_often():
    real, draws = torch.arange(8) != 5, 1500
    orders = torch.stack([_drawn_order(torch.tensor(seed * 7919), real) for seed in range(draws)])
    assert torch.equal(orders.sort(dim=1).values, torch.arange(8).expand(draws, 8))
    assert (orders[:, -1] == 5).all()
    counts = torch.stack([(orders == vector).sum(0) for vector in range(8) if vector != 5])[:, :7]
    # 7 places: 214 expected in each, standard deviation 13.6
    assert (counts - draws / 7).abs().max() < 5 * 13.6


@every_kind
def test_masked_vectors_touch_nothing_not_even_nan(kind):
    z, mask = batch(1)
    results = []
    for garbage in (0.0, 1e3, torch.nan):
        quantizer = ours(kind, revive_below=1.0)
        x = torch.where(mask[..., None], z, garbage).requires_grad_()
        out, index = quantizer(x, mask)
        (grad,) = torch.autograd.grad(out.square().sum(), x)
        assert not grad[~mask].any()
        assert not out[~mask].any()
        results.append((out, index, grad, quantizer.state_dict()))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    torch.testing.assert_close(results[2], results[0], rtol=0, atol=0)


def test_a_batch_without_a_real_vector_moves_nothing():
    quantizer = ours(revive_below=1.0)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(torch.randn(B, Q, D), torch.zeros(B, Q, dtype=torch.bool))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


def test_an_encoder_learns_through_a_codebook_that_stands_still():
    """In eval mode too (a frozen codebook in a stage that trains the encoder) the gradient goes straight through."""
    z, mask = batch(1, masked=False)
    z.requires_grad_()
    quantizer = ours().eval()
    before = quantizer.codebook.clone()
    (grad,) = torch.autograd.grad(quantizer(z, mask)[0].sum(), z)
    assert torch.equal(grad, torch.ones_like(z))
    assert torch.equal(quantizer.codebook, before)


class Waits(TorchDispatchMode):
    """Collects the operations that would make the host wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        by_mask = name == "index" and any(t is not None and t.dtype == torch.bool for t in args[1])
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "bincount"):
            self.found = [*getattr(self, "found", []), name]
        return func(*args, **(kwargs or {}))


SPACES = {
    "vq": lambda: VQSpace(dim=D, codes=K),
    "vq by gradient, rotation trick": lambda: VQSpace(dim=D, codes=K, gradient=True, rotation_trick=True),
    "simvq": lambda: SimVQSpace(dim=D, codes=K),
    "fsq": lambda: FSQSpace(dim=D, levels=[5, 5, 5]),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_training_step_never_makes_the_host_wait(name):
    space, z = SPACES[name](), torch.randn(B, Q, D, requires_grad=True)
    with Waits() as waits:
        out = space.bottleneck(space.project(z), torch.arange(B) < 9)
        (out.z.square().sum() + sum(out.terms.values())).backward()
    assert getattr(waits, "found", []) == []


def test_the_watch_for_waits_can_see_one():
    with Waits() as waits:
        theirs(revive_below=1.0)(*batch(1)[:1], mask=batch(1)[1])
    assert "_local_scalar_dense" in waits.found
    assert "nonzero" in waits.found or "index" in waits.found


def test_the_rotation_trick_is_the_librarys():
    z, code, weight = (torch.randn(B, Q, D, generator=torch.Generator().manual_seed(i)) for i in range(3))
    z[0, 0], code[1, 1] = 0.0, 0.0
    results = []
    for turn in (rotate_to, their_rotate_to):
        x = z.clone().requires_grad_()
        out = turn(x, code)
        results.append((out, *torch.autograd.grad((out * weight).sum(), x)))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0][0][2:], code[2:])


@pytest.mark.parametrize("rotation_trick", [False, True])
def test_simvq_is_the_librarys(rotation_trick):
    torch.manual_seed(0)
    space = SimVQSpace(dim=D, codes=K, rotation_trick=rotation_trick)
    torch.manual_seed(0)
    library = SimVQ(dim=D, codebook_size=K, rotation_trick=rotation_trick)
    states_equal(space.quantizer, library, rtol=0, atol=0)
    z, weight, mask = torch.randn(B, Q, D), torch.randn(B, Q, D), torch.ones(B, dtype=torch.bool)
    x, y = z.clone().requires_grad_(), z.clone().requires_grad_()
    out = space.bottleneck(x, mask)
    theirs_, index, loss = library(y)
    ours_ = 0.25 * out.terms["commitment"] + out.terms["codebook"]
    torch.testing.assert_close(out.z, theirs_)
    torch.testing.assert_close(space.encode(z), index)
    torch.testing.assert_close(ours_, loss)
    mine = torch.autograd.grad((out.z * weight).sum() + ours_, [x, space.quantizer.code_transform.weight])
    # the library's rotated code carries a gradient to the map that the paper's losses do not have; it is left out
    through = theirs_ if not rotation_trick else their_rotate_to(y, library.codebook[index].detach())
    other = torch.autograd.grad((through * weight).sum() + loss, [y, library.code_transform.weight])
    torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("levels", [[5, 5, 5], [8, 6, 5], [4, 3, 5, 7, 3, 4]])
def test_fsq_is_the_librarys(levels):
    torch.manual_seed(0)
    space = FSQSpace(dim=D, levels=levels)
    torch.manual_seed(0)
    library = FSQ(levels=levels, dim=D)
    states_equal(space.quantizer, library, rtol=0, atol=0)
    z, weight = 2 * torch.randn(B, Q, D), torch.randn(B, Q, D)
    x, y = z.clone().requires_grad_(), z.clone().requires_grad_()
    out = space.bottleneck(x, torch.ones(B, dtype=torch.bool)).z
    theirs_, index = library(y)
    torch.testing.assert_close(out, theirs_)
    torch.testing.assert_close(space.encode(z), index.long())
    torch.testing.assert_close(space.lookup(index.long()), library.indices_to_codes(index))
    torch.testing.assert_close(
        torch.autograd.grad((out * weight).sum(), x), torch.autograd.grad((theirs_ * weight).sum(), y)
    )


def test_numbers_that_are_no_codebook_are_refused():
    with pytest.raises(ConfigError, match="at least one code"):
        VQSpace(dim=D, codes=0)
    with pytest.raises(ConfigError, match="decay lies in"):
        VQSpace(dim=D, decay=1.0)
    with pytest.raises(ConfigError, match="0 \\(never\\) or more"):
        VQSpace(dim=D, revive_below=-1.0)
