"""Probes that fit something: actions, tasks, codes, maps, attention."""

import math

import pytest
import scipy.ndimage
import torch

from lara.errors import ConfigError, DataError
from lara.probes.attention import attention, query_attention, weights_of
from lara.probes.baselines import others, pixel_difference, small
from lara.probes.classify import classify
from lara.probes.codebook import codebook, usage
from lara.probes.linear import linear_probe, ridge, solve
from lara.probes.map2d import map2d, principal
from lara.probes.mlp import fit_mlp, mlp_probe
from lara.probes.regression import features, inner_split, score
from lara.probes.ssim import ssim
from tests.probes import worlds
from tests.tiny import SIZE, tiny_lam


def test_ridge_is_the_normal_equations():
    torch.manual_seed(0)
    x, y, new = torch.randn(40, 6).double(), torch.randn(40, 3).double(), torch.randn(5, 6).double()
    (found,) = solve(x, y, new, [0.3])
    a = (x - x.mean(0)) / x.std(0)
    b = (new - x.mean(0)) / x.std(0)
    strength = 0.3 * a.square().sum() / 6
    w = torch.linalg.solve(a.T @ a + strength * torch.eye(6), a.T @ (y - y.mean(0)))
    torch.testing.assert_close(found, b @ w + y.mean(0))


def test_ridge_finds_what_is_linear_whatever_the_features_scale_and_offset():
    torch.manual_seed(0)
    x, w = torch.randn(120, 5), torch.randn(5, 4)
    episode = torch.arange(120) // 10
    predicted = [ridge(m * x[:80] + b, x[:80] @ w, episode[:80], m * x[80:] + b) for m, b in ((1.0, 0.0), (1e-3, 7.0))]
    torch.testing.assert_close(predicted[0], x[80:] @ w, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(predicted[1], predicted[0], atol=2e-2, rtol=1e-2)


def test_constant_features_predict_the_mean():
    y = torch.randn(20, 2)
    predicted = ridge(torch.ones(20, 3), y, torch.arange(20) // 4, torch.ones(4, 3))
    torch.testing.assert_close(predicted, y.mean(0).expand(4, -1))
    assert score(y.mean(0).expand(20, -1)[:, None], y[:, None], y.mean(0)[None]).r2 == pytest.approx(0, abs=1e-6)


def test_the_linear_probe_reads_actions_from_a_change_and_not_from_another_pairs():
    fit, test = worlds.clips(2, n=700, seed=1), worlds.clips(2, n=60, seed=2)
    motion = worlds.motion()
    found = linear_probe(features(motion, fit), fit, features(motion, test), test)
    assert found.dims == [0, 1]
    assert found.horizon == 2
    assert found.rows["model"].r2 > 0.9
    assert found.rows["pixel_difference"].r2 > 0.9
    assert found.rows["other_latent"].r2 < 0.2
    assert found.rows["nothing"].r2 == pytest.approx(0, abs=0.1)
    assert len(found.rows["model"].r2_per_step) == 2
    assert (found.fit_pairs, found.test_pairs, found.fit_episodes) == (700, 60, 6)


def test_the_mlp_reads_what_is_not_linear_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    x = torch.randn(1200, 6)
    # a function of direction: the LayerNorm at the probe's entrance takes the length away
    y = (x[:, :1].abs() / x.norm(dim=1, keepdim=True)).repeat(1, 2)
    episode = torch.arange(1200) // 10
    state = torch.get_rng_state()
    fits = [fit_mlp(x[:1000], y[:1000], episode[:1000], x[1000:], width=64, epochs=40, lr=3e-3) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*fits)
    spread = (y[1000:] - y.mean(0)).square().mean()
    assert (fits[0] - y[1000:]).square().mean() < 0.7 * spread
    assert (ridge(x[:1000], y[:1000], episode[:1000], x[1000:]) - y[1000:]).square().mean() > 0.9 * spread


@pytest.mark.parametrize("probe", [linear_probe, mlp_probe])
def test_an_episode_on_both_sides_is_refused(probe):
    fit = worlds.clips(2)
    x = features(worlds.motion(), fit)
    with pytest.raises(DataError, match="both sides"):
        probe(x, fit, x, fit)


def test_the_inner_split_keeps_episodes_together():
    episode = torch.randint(0, 7, (50,))
    inner = inner_split(episode)
    assert inner.any()
    assert not inner.all()
    assert not set(episode[inner].tolist()) & set(episode[~inner].tolist())


def test_the_attentive_probe_reads_a_task_that_is_there_and_no_other():
    # the task is in the change: pairs of task 1 grow brighter, pairs of task 0 darker
    def lit(seed):
        seen = worlds.clips(2, n=80, seed=seed)
        sign = (2 * seen.task_N - 1)[:, None, None, None]
        seen.frames_NFCHW[:, 1] = (seen.frames_NFCHW[:, 0].int() + 20 * sign).to(torch.uint8)
        return seen

    found = classify(worlds.motion(), lit(1), lit(2), epochs=6, lrs=(3e-3,))
    assert found.rows["model"] > 0.95
    assert found.rows["pixel_difference"] > 0.95
    assert 0.2 < found.rows["other_latent"] < 0.8
    assert found.majority == 0.5
    with pytest.raises(DataError, match="different episodes"):
        classify(worlds.motion(), lit(1), lit(1))
    with pytest.raises(DataError, match="at least two tasks"):
        classify(worlds.motion(), worlds.clips(2, tasks=1, seed=1), worlds.clips(2, tasks=1, seed=2))


def test_code_usage_counts():
    found = usage(torch.tensor([[0, 1], [0, 2], [0, 1], [0, 2]]), 8)
    assert found.counts == [4, 2, 2, 0, 0, 0, 0, 0]
    assert (found.dead, found.used) == (5, 3 / 8)
    assert found.perplexity == pytest.approx(math.exp(-(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))))
    assert found.perplexity_per_query == pytest.approx([1.0, 2.0])
    assert found.sequences == 0.5
    relabelled = usage(7 - torch.tensor([[0, 1], [0, 2], [0, 1], [0, 2]]), 8)
    assert relabelled.perplexity == pytest.approx(found.perplexity)


def _look(n=10):
    seen = worlds.clips(2, n=n)
    frames = torch.nn.functional.interpolate(seen.frames_NFCHW.flatten(0, 1).float(), size=SIZE)
    return type(seen)(**{**vars(seen), "frames_NFCHW": frames.to(torch.uint8).unflatten(0, (n, 2))})


def test_the_codebook_probe_sees_the_models_own_codes_and_moves_none():
    lam, seen = tiny_lam().eval(), _look()
    before = {k: v.clone() for k, v in lam.state_dict().items()}
    found = codebook(lam, seen)
    indices = lam.space.encode(lam.encode(seen.frames_NFCHW).z_BQD)
    assert found.rows["model"].counts == torch.bincount(indices.flatten(), minlength=16).tolist()
    assert all(torch.equal(v, before[k]) for k, v in lam.state_dict().items())
    with pytest.raises(ConfigError, match="has no codes"):
        codebook(worlds.motion(), worlds.clips(2))


def test_recomputed_attention_is_what_the_block_really_does():
    lam, seen = tiny_lam().eval(), _look()
    layer = lam.former.trunk.blocks[-1].attention
    x = torch.randn(3, 7, 32)
    weights = weights_of(layer, x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, 7))
    value = layer.key_value(x).chunk(2, dim=-1)[1].unflatten(-1, (4, -1)).transpose(1, 2)
    torch.testing.assert_close(layer.out((weights @ value).transpose(1, 2).flatten(2)), layer(x))
    before = lam.encode(seen.frames_NFCHW).z_BQD
    full = query_attention(lam, seen.frames_NFCHW)
    assert full.shape == (10, 2, 2 + 4 + 1 + 4)
    # the probe left no hook behind
    assert torch.equal(lam.encode(seen.frames_NFCHW).z_BQD, before)
    assert not layer._forward_pre_hooks


def test_attention_maps_put_each_frame_on_its_own_patches():
    lam, seen = tiny_lam().eval(), _look()
    with torch.no_grad():
        layer = lam.former.trunk.blocks[-1].attention
        # positions alone decide: the third patch of the future frame gets everything
        lam.former.project.weight.zero_()
        lam.former.project.bias.zero_()
        lam.former.positions[0] = torch.randn(11, 32)
        norm = lam.former.trunk.blocks[-1].norm_attention
        lam.former.trunk.blocks[-1].mlp.down.weight.zero_()
        key = norm(lam.former.positions[0] + _types(lam))[2 + 4 + 1 + 2]
        layer.query.weight.zero_()
        layer.query.bias.copy_(30 * key)
        layer.key_value.weight[:32] = torch.eye(32)
    found = attention(lam, seen, examples=2)
    assert found.shares["future_frame"] > 0.99
    assert found.entropy < 0.01
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-5)
    assert found.picture.startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="MFormer only"):
        attention(worlds.motion(), worlds.clips(2))


def _types(lam):
    types = torch.zeros(11, 32)
    types[2:6], types[6], types[7:] = lam.former.frame_type[0, 0], lam.former.separator[0], lam.former.frame_type[1, 0]
    return types


def test_the_map_is_the_plane_of_largest_variance():
    torch.manual_seed(0)
    x = torch.randn(60, 6) * torch.tensor([9.0, 4, 1, 1, 1, 1])
    points, explained = principal(x)
    values = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0)
    torch.testing.assert_close(points.var(dim=0), values[:2], rtol=1e-4, atol=1e-4)
    assert explained == pytest.approx((values[:2] / values.sum()).tolist(), rel=1e-4)
    turned, _ = principal(x @ torch.linalg.qr(torch.randn(6, 6)).Q + 5)
    torch.testing.assert_close(turned.abs(), points.abs(), rtol=1e-3, atol=1e-3)


def test_the_map_knows_the_direction_of_the_action_where_the_latent_does():
    two = worlds.model(lambda now, future: 1e3 * (future - now)[..., :2].repeat(1, 1, worlds.PIXELS // 2))
    found = map2d(two, worlds.clips(2, n=80))
    assert found.rows["model"].direction_r2 > 0.7
    assert found.rows["other_latent"].direction_r2 < 0.2
    constant = map2d(worlds.model(lambda now, future: torch.ones_like(now)), worlds.clips(2, n=80)).rows["model"]
    assert constant.direction_r2 == pytest.approx(0, abs=1e-6)
    assert constant.common_direction == pytest.approx(1)
    with pytest.raises(ConfigError, match=r"dims 0\.\.2"):
        map2d(two, worlds.clips(2), dims=(0, 3))


def test_ssim_is_wangs():
    torch.manual_seed(0)
    a = torch.rand(2, 3, 20, 17)
    b = (a + 0.2 * torch.randn_like(a)).clamp(0, 1)

    def blur(x):
        return scipy.ndimage.gaussian_filter(x, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    for n in range(2):
        values = []
        for x, y in zip(a[n].double().numpy(), b[n].double().numpy(), strict=True):
            mx, my, cxy = blur(x), blur(y), blur(x * y)
            cx, cy, cxy = blur(x * x) - mx**2, blur(y * y) - my**2, cxy - mx * my
            top = (2 * mx * my + 1e-4) * (2 * cxy + 9e-4)
            values.append((top / ((mx**2 + my**2 + 1e-4) * (cx + cy + 9e-4))).mean())
        assert ssim(a, b)[n].item() == pytest.approx(sum(values) / 3, abs=1e-5)
    torch.testing.assert_close(ssim(a, a), torch.ones(2))
    torch.testing.assert_close(ssim(a, b), ssim(b, a))
    with pytest.raises(ConfigError, match="at least 11"):
        ssim(a[..., :10], b[..., :10])


def test_random_z_belongs_to_somebody_else_and_to_everybody_once():
    z = torch.arange(9.0)[:, None]
    for turn in range(1, 4):
        moved = others(z, turn=turn, turns=4)
        assert not (moved == z).any()
        assert torch.equal(moved.sort(dim=0).values, z)
    # whole blocks of a sorted list do not move together
    far = others(torch.arange(200.0)[:, None]).flatten().diff().abs()
    assert (far == 1).float().mean() < 0.1


def test_pixel_difference_is_additive_and_antisymmetric():
    a, b, c = (torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8) for _ in range(3))
    torch.testing.assert_close(pixel_difference(a, b) + pixel_difference(b, c), pixel_difference(a, c))
    torch.testing.assert_close(pixel_difference(a, b), -pixel_difference(b, a))
    assert small(a).shape == (2, 3 * 144)
    torch.testing.assert_close(small(a, side=1), a.float().mean(dim=(2, 3)) / 255)
