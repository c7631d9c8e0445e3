"""A reference of the released tokenizer, written here from its published names and shapes, against `load_moto`."""

import json
import math
import os

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import save_file
from torch import nn

from lara.errors import CheckpointError
from lara.lam.moto import load_moto, moto_config

Q, WIDTH, HEADS, HIDDEN, ENCODED, DIM, CODES, SIDE, PATCH, LAYERS = 3, 32, 4, 48, 20, 6, 11, 32, 8, {"m": 2, "d": 3}
PATCHES = (SIDE // PATCH) ** 2
EPS = 0.02  # the release has 1e-12; a large one shows whether it is read
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Encoder(nn.Module):
    """Stands for the frozen MAE: `PATCHES` tokens and a class token."""

    tokens, width = PATCHES + 1, ENCODED

    def __init__(self):
        super().__init__()
        self.cut = nn.Conv2d(3, ENCODED, PATCH, PATCH)

    def forward(self, frames):
        x = (frames.float() / 255 - MEAN[:, None, None]) / STD[:, None, None]
        x = self.cut(x).flatten(2).transpose(1, 2)
        return torch.cat([x.mean(1, keepdim=True), x], dim=1)


def random_weights(*, scale=0.3):
    """Every tensor of a released file, in the release's names (a plain ViTEncoder of transformers 4)."""
    shapes = {
        "m_former.embeddings.latent_motion_token": (1, Q, WIDTH),
        "m_former.embeddings.sep_token": (1, 1, WIDTH),
        "m_former.embeddings.position_embeddings": (1, 2 * (PATCHES + 1) + 1 + Q, WIDTH),
        "m_former.embeddings.token_type_embeddings": (2, WIDTH),
        "m_former.embeddings.projection.weight": (WIDTH, ENCODED),
        "vq_down_resampler.0.weight": (WIDTH, WIDTH),
        "vq_down_resampler.2.weight": (DIM, WIDTH),
        "vq_up_resampler.0.weight": (DIM, DIM),
        "vq_up_resampler.2.weight": (WIDTH, DIM),
        "vector_quantizer.embedding.weight": (CODES, DIM),
        "decoder.transformer.embeddings.query_pooling_layer.weight": (WIDTH, Q * WIDTH),
        "decoder.transformer.embeddings.patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
        "decoder.transformer.embeddings.position_embeddings": (1, PATCHES, WIDTH),
        "decoder.decoder.0.weight": (3 * PATCH**2, WIDTH, 1, 1),
        "m_former.layernorm.weight": (WIDTH,),
        "decoder.transformer.layernorm.weight": (WIDTH,),
    }
    for root, layers in (("m_former", LAYERS["m"]), ("decoder.transformer", LAYERS["d"])):
        for k in range(layers):
            layer = f"{root}.encoder.layer.{k}"
            for name in ("query", "key", "value"):
                shapes[f"{layer}.attention.attention.{name}.weight"] = (WIDTH, WIDTH)
            shapes |= {
                f"{layer}.attention.output.dense.weight": (WIDTH, WIDTH),
                f"{layer}.intermediate.dense.weight": (HIDDEN, WIDTH),
                f"{layer}.output.dense.weight": (WIDTH, HIDDEN),
                f"{layer}.layernorm_before.weight": (WIDTH,),
                f"{layer}.layernorm_after.weight": (WIDTH,),
            }
    biased = [n for n in shapes if n.endswith(".weight") and not n.startswith("vector_quantizer")]
    shapes |= {n.removesuffix("weight") + "bias": (shapes[n][0],) for n in biased}
    g = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=g) * scale for name, shape in shapes.items()}


def vit(w, root, x, layers):
    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(-1, keepdim=True)
        scale = torch.sqrt(centred.square().mean(-1, keepdim=True) + EPS)
        return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def heads(x):
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    for k in range(layers):
        at = f"{root}.encoder.layer.{k}"
        h = norm(f"{at}.layernorm_before", x)
        q, key, v = (heads(linear(f"{at}.attention.attention.{n}", h)) for n in ("query", "key", "value"))
        a = torch.softmax(q @ key.transpose(-1, -2) / math.sqrt(WIDTH // HEADS), dim=-1) @ v
        x = x + linear(f"{at}.attention.output.dense", a.transpose(1, 2).flatten(2))
        h = linear(f"{at}.intermediate.dense", norm(f"{at}.layernorm_after", x))
        x = x + linear(f"{at}.output.dense", h * 0.5 * (1 + torch.erf(h / math.sqrt(2))))
    return norm(f"{root}.layernorm", x)


def reference(w, encoder, now, future, *, legacy):
    """(z, indices, normalised pixels) as the release computes them, patches unshuffled."""

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    a, b = (linear("m_former.embeddings.projection", encoder(x)) for x in (now, future))
    n = len(a)
    x = torch.cat(
        [
            w["m_former.embeddings.latent_motion_token"].expand(n, -1, -1),
            a,
            w["m_former.embeddings.sep_token"].expand(n, -1, -1),
            b,
        ],
        dim=1,
    )
    types = w["m_former.embeddings.token_type_embeddings"]
    kind = torch.zeros(x.shape[1], dtype=torch.long)
    kind[-b.shape[1] :] = 0 if legacy else 1
    x = vit(w, "m_former", x + w["m_former.embeddings.position_embeddings"] + types[kind], LAYERS["m"])[:, :Q]
    z = linear("vq_down_resampler.2", torch.tanh(linear("vq_down_resampler.0", x)))
    codes = w["vector_quantizer.embedding.weight"]
    indices = (z[:, :, None] - codes).square().sum(-1).argmin(-1)
    up = linear("vq_up_resampler.2", torch.tanh(linear("vq_up_resampler.0", codes[indices])))
    at = "decoder.transformer.embeddings"
    pixels = (now.float() / 255 - MEAN[:, None, None]) / STD[:, None, None]
    cut = F.conv2d(pixels, w[f"{at}.patch_embeddings.projection.weight"], stride=PATCH)
    h = cut.flatten(2).transpose(1, 2) + w[f"{at}.patch_embeddings.projection.bias"]
    h = h + linear(f"{at}.query_pooling_layer", up.reshape(n, 1, -1)) + w[f"{at}.position_embeddings"]
    h = vit(w, "decoder.transformer", h, LAYERS["d"]).transpose(1, 2).unflatten(2, (SIDE // PATCH, -1))
    return z, indices, F.pixel_shuffle(F.conv2d(h, w["decoder.decoder.0.weight"], w["decoder.decoder.0.bias"]), PATCH)


def config(layout, **m_former):
    vit_config = {
        "_target_": "transformers.ViTConfig",
        "query_num": Q,
        "hidden_act": "gelu",
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "layer_norm_eps": EPS,
        "num_attention_heads": HEADS,
        "qkv_bias": True,
    }
    root = {"moto": "latent_motion_tokenizer.src.models", "lara": "moto.latent_motion_tokenizer.model"}[layout]
    sections = {
        "image_encoder": {"_target_": "transformers.ViTMAEModel.from_pretrained", "pretrained": "${oc.env:SOMEWHERE}"},
        "m_former": {
            "_target_": f"{root}.m_former.MFormer",
            "add_pooling_layer": False,
            "config": {
                **vit_config,
                "num_hidden_layers": LAYERS["m"],
                "num_patches": PATCHES + 1,
                "input_hidden_size": ENCODED,
                **m_former,
            },
        },
        "vector_quantizer": {
            "_target_": f"{root}.vector_quantizer.VectorQuantizer2",
            "n_e": CODES,
            "e_dim": DIM,
            "beta": 0.25,
            "remap": None,
        },
        "decoder": {
            "_target_": f"{root}.latent_motion_decoder.LatentMotionDecoder",
            "config": {
                **vit_config,
                "num_hidden_layers": LAYERS["d"],
                "num_patches": PATCHES,
                "image_size": SIDE,
                "patch_size": PATCH,
                "encoder_stride": PATCH,
                "num_channels": 3,
            },
        },
    }
    if layout == "moto":
        return {"_target_": f"{root}.latent_motion_tokenizer.LatentMotionTokenizer", "codebook_dim": DIM, **sections}
    return {"model_type": "latent_motion_tokenizer", "codebook_dim": DIM} | {
        f"{name}_config": section for name, section in sections.items()
    }


def write(folder, layout, weights, settings=None, prefix=""):
    folder.mkdir(exist_ok=True)
    settings = settings or config(layout)
    named = {prefix + name: tensor.contiguous() for name, tensor in weights.items()}
    if layout == "moto":
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        torch.save(named, folder / "pytorch_model.bin")
    else:
        (folder / "config.json").write_text(json.dumps(settings))
        save_file(named, folder / "model.safetensors")
    return folder


@pytest.fixture
def encoder(monkeypatch):
    import lara.lam.moto

    # the test's encoder is narrower than any MAE
    monkeypatch.setitem(lara.lam.moto._MAE_OF_WIDTH, ENCODED, "vit_base_patch16_224.mae")
    torch.manual_seed(3)
    return Encoder()


def frames(n=4):
    g = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 2, 3, SIDE, SIDE), generator=g, dtype=torch.uint8)


@pytest.mark.parametrize("layout", ["moto", "lara"])
@pytest.mark.parametrize("legacy", [True, False])
@torch.no_grad()
def test_a_released_checkpoint_computes_what_the_release_computes(tmp_path, encoder, layout, legacy):
    weights = random_weights()
    pair = frames()
    near, *_ = reference(weights, encoder, pair[:, 0], pair[:, 1], legacy=legacy)
    # codes near the latents, so that more than one of them is used
    weights["vector_quantizer.embedding.weight"] = near.flatten(0, 1)[:CODES] + 0.01 * torch.randn(CODES, DIM)
    prefix = "" if layout == "moto" else "action_head.latent_motion_tokenizer."
    extra = (
        {} if layout == "moto" else {"m_former.pooler.dense.weight": torch.zeros(2), "image_encoder.x": torch.ones(1)}
    )
    folder = write(tmp_path / "x", layout, weights | extra, config(layout, legacy=legacy), prefix)
    lam = load_moto(folder, encoder=encoder)
    z, indices, pixels = reference(weights, encoder, pair[:, 0], pair[:, 1], legacy=legacy)
    ours = lam.encode(pair).z_BQD
    torch.testing.assert_close(ours, z, atol=1e-4, rtol=1e-4)
    assert torch.equal(lam.space.encode(ours), indices)
    assert indices.unique().numel() > 2
    bottleneck = lam.space.bottleneck(ours, torch.ones(len(pair), dtype=torch.bool))
    torch.testing.assert_close(lam.decode(pair[:, 0], bottleneck.z), pixels, atol=1e-4, rtol=1e-4)
    # the other token typing is another function, so the comparison above can fail
    other, *_ = reference(weights, encoder, pair[:, 0], pair[:, 1], legacy=not legacy)
    assert (ours - other).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("legacy", "weights"), [(True, {"quantization": 1}), (False, {"commitment": 0.25, "codebook": 1})]
)
def test_the_quantiser_loss_is_the_releases_with_beta_on_the_side_that_the_config_says(
    tmp_path, encoder, legacy, weights
):
    settings = config("moto")
    settings["vector_quantizer"]["legacy"] = legacy
    tensors = random_weights()
    lam = load_moto(write(tmp_path / "a", "moto", tensors, settings), encoder=encoder)
    z = torch.randn(5, Q, DIM, requires_grad=True)
    codes = tensors["vector_quantizer.embedding.weight"]
    nearest = codes[(z[:, :, None] - codes).square().sum(-1).argmin(-1)]
    beta = 1.0 if legacy else 0.25
    terms = lam.space.bottleneck(z, torch.ones(5, dtype=torch.bool)).terms
    loss = sum(weights[name] * terms[name] for name in weights)
    torch.testing.assert_close(loss, 1.25 * (nearest - z).square().mean())
    (grad,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(grad, beta * 2 * (z - nearest) / z.numel())


def test_the_released_encoder_keeps_its_class_token_and_its_order():
    pytest.importorskip("timm")
    from lara.lam.moto import MotoEncoder

    made = MotoEncoder(name="vit_tiny_patch16_224", weights="random", image_size=32).eval()
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert made(x).shape == (2, made.tokens, made.width) == (2, 5, 192)
    assert torch.equal(made(x), made(x))
    assert torch.equal(made(x)[:, 1:], super(MotoEncoder, made)._encode(made.normalizer(x)))


def test_paper_sizes_make_the_sequence_of_403_tokens(tmp_path):
    from lara.config.build import build

    settings = config("moto", num_patches=197, input_hidden_size=1024, query_num=8)
    settings["decoder"]["config"] |= {"image_size": 224, "patch_size": 16, "encoder_stride": 16, "query_num": 8}
    made = moto_config(write(tmp_path / "x", "moto", {}, settings))
    assert made["encoder"]["name"] == "vit_large_patch16_224.mae"
    former = build(made["former"])(tokens=197, context_width=1024, queries=8, dim=DIM)
    assert former.positions.shape[1] == 403


class Gadget:
    """Unpickled, it writes a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (os.system, (f"echo caught > {self.canary}",))


def test_a_pickle_that_calls_something_is_refused_unrun(tmp_path, encoder):
    canary = tmp_path / "canary"
    folder = write(tmp_path / "x", "moto", random_weights())
    torch.save({"m_former.embeddings.latent_motion_token": Gadget(canary)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="more than tensors"):
        load_moto(folder, encoder=encoder)
    assert not canary.exists()
    # the gadget is live: a reader that trusts the file does run it
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert canary.exists()


@pytest.mark.parametrize("layout", ["moto", "lara"])
@pytest.mark.parametrize("section", ["m_former", "decoder", "image_encoder"])
def test_a_config_that_names_foreign_code_is_refused_unimported(tmp_path, encoder, layout, section):
    canary = tmp_path / "canary"
    settings = config(layout)
    name = section if layout == "moto" else f"{section}_config"
    settings[name] = {**settings[name], "_target_": "os.system", "command": f"echo caught > {canary}"}
    folder = write(tmp_path / "x", layout, random_weights(), settings)
    with pytest.raises(CheckpointError, match=r"os\.system.*nothing was imported"):
        load_moto(folder, encoder=encoder)
    assert not canary.exists()


def test_yaml_tags_that_build_objects_are_refused(tmp_path, encoder):
    canary = tmp_path / "canary"
    folder = write(tmp_path / "x", "moto", random_weights())
    (folder / "config.yaml").write_text(f"m_former: !!python/object/apply:os.system ['echo caught > {canary}']\n")
    with pytest.raises(CheckpointError, match="plain data"):
        load_moto(folder, encoder=encoder)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("vq_up_resampler.0.bias"), "vq_up_resampler.0.bias is missing"),
        (lambda w: w.update({"decoder.surprise": torch.ones(1)}), "unknown meaning"),
        (lambda w: w.update({"vq_down_resampler.2.bias": torch.ones(DIM + 1)}), "another name or shape"),
        (lambda w: w.pop("m_former.embeddings.latent_motion_token"), "expected one tensor named"),
    ],
)
def test_a_file_that_does_not_fill_the_model_exactly_is_refused(tmp_path, encoder, change, message):
    weights = random_weights()
    change(weights)
    with pytest.raises(CheckpointError, match=message):
        load_moto(write(tmp_path / "x", "lara", weights), encoder=encoder)


@pytest.mark.parametrize(
    "option",
    [{"hidden_act": "relu"}, {"qkv_bias": False}, {"query_num": Q + 1}, {"hidden_size": 10**12}],
    ids=lambda o: next(iter(o)),
)
def test_options_of_another_architecture_are_refused(tmp_path, encoder, option):
    folder = write(tmp_path / "x", "lara", random_weights(), config("lara", **option))
    with pytest.raises(CheckpointError, match=next(iter(option))):
        load_moto(folder, encoder=encoder)


def test_the_imported_checkpoint_is_one_of_ours_and_the_same_model(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    import lara.lam.moto
    from lara.commands.imports import main
    from lara.errors import ConfigError
    from lara.imports.moto import import_moto
    from lara.serve.load import load_lam

    # the smallest ViT with a class token, 2 x 2 patches, stands for the MAE
    monkeypatch.setitem(lara.lam.moto._MAE_OF_WIDTH, 192, "vit_tiny_patch16_224")
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    save_file(vit.state_dict(), tmp_path / "mae.safetensors")
    weights = random_weights()
    weights["m_former.embeddings.projection.weight"] = torch.randn(WIDTH, 192) * 0.1
    weights["m_former.embeddings.position_embeddings"] = torch.randn(1, 2 * 197 + 1 + Q, WIDTH) * 0.1
    settings = config("lara", num_patches=197, input_hidden_size=192)
    folder = write(tmp_path / "released", "lara", weights, settings)
    output = tmp_path / "ours"
    assert main(["moto", f"path={folder}", f"output={output}", f"encoder={tmp_path / 'mae.safetensors'}"]) == 0
    lam, saved = load_lam(output)
    assert (saved.step, saved.config["imported_from"]) == (0, str(folder))
    from lara.lam.moto import MotoEncoder

    mae = MotoEncoder(name="vit_tiny_patch16_224", weights=str(tmp_path / "mae.safetensors"))
    direct = load_moto(folder, encoder=mae)
    pair = frames(2)
    with torch.no_grad():
        assert torch.equal(lam.encode(pair).z_BQD, direct.encode(pair).z_BQD)
    with pytest.raises(CheckpointError, match="already holds a checkpoint"):
        import_moto(folder, output)
    with pytest.raises(ConfigError, match="path=RELEASED output=FOLDER"):
        main(["moto", f"path={folder}"])
