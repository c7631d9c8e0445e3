"""What GR00T's backbones are shown: pixels, prompts, and which layer's features come back."""

import types

import pytest
import torch

from lara.config.trust import Trust, trusting
from lara.errors import CheckpointError, ConfigError
from lara.policy.hosts.groot import eagle as eagle_module
from lara.policy.hosts.groot.eagle import EagleBackbone
from lara.policy.hosts.groot.images import crop_and_resize, qwen_patches
from lara.policy.hosts.groot.prompt import HubProcessor, WordProcessor, formulate
from lara.policy.hosts.groot.qwen import QwenBackbone
from tests.tiny import tiny_batch

PIN = "0123456789abcdef0123456789abcdef01234567"
ROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "rope_parameters": ROPE,
}
VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": 8,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0],
}
SPECIAL = {"image_token": 5, "video_token": 6, "vision_start_token": 3, "vision_end_token": 4}


def qwen(select_layer, **changes):
    torch.manual_seed(0)
    processor = WordProcessor(vocabulary=64, patch=8, merge=2)
    return QwenBackbone(
        processor=processor, text=TEXT, vision=VISION, select_layer=select_layer, **SPECIAL, **changes
    ).eval()


def test_features_are_the_whole_models_hidden_states_at_that_layer():
    """transformers' own hidden_states[k], k below the depth, is what k layers give before any final norm."""
    from transformers import Qwen3VLConfig
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

    ids = {f"{name}_id": value for name, value in SPECIAL.items()}
    whole = Qwen3VLModel(Qwen3VLConfig(text_config=TEXT, vision_config=VISION, **ids)).eval()
    observation = tiny_batch(3, views=2).observation
    for layer in (2, 3):  # after the layer that image features are added to (deepstack); hidden_states lack them there
        backbone = qwen(layer)
        own = backbone.model["model"]
        own.load_state_dict({k: v for k, v in whole.state_dict().items() if k in own.state_dict()}, strict=True)
        inputs = backbone.processor(observation.images_BVCHW, observation.instruction)
        states = whole(**inputs, output_hidden_states=True, use_cache=False).hidden_states
        tokens = backbone(observation)
        torch.testing.assert_close(tokens.x[tokens.mask], states[layer][tokens.mask], rtol=1e-5, atol=1e-5)
        assert (tokens.x - states[layer - 1]).abs().max() > 1e-3


def test_patches_are_those_of_transformers_own_processor():
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    images = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    theirs = Qwen2VLImageProcessor(
        patch_size=8, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_resize=False
    )(images=list(images), return_tensors="pt")
    patches, grid = qwen_patches(images, patch=8, merge=2, frames=2)
    assert torch.equal(grid, torch.as_tensor(theirs["image_grid_thw"]))
    torch.testing.assert_close(patches, torch.as_tensor(theirs["pixel_values"]).float(), rtol=0, atol=1e-5)


def test_prompts_are_padded_on_the_left_and_count_an_images_pieces():
    inputs = WordProcessor(vocabulary=64, patch=8, merge=2)(
        torch.zeros(2, 2, 3, 32, 48, dtype=torch.uint8), ("open", "open the lower drawer")
    )
    mask = inputs["attention_mask"].bool()
    assert mask[1].all()
    assert mask[0].tolist() == [False] * 3 + [True] * (mask.shape[1] - 3)
    assert (inputs["input_ids"] == 5).sum(dim=1).tolist() == [2 * 6, 2 * 6]
    assert inputs["pixel_values"].shape == (2 * 2 * 24, 3 * 2 * 64)


def test_the_vendors_forms_of_an_instruction():
    assert formulate("Open it, NOW!", "formal") == "open it now"
    assert formulate("Open it", "list") == "['Open it']"
    assert formulate("Open it", "plain") == "Open it"
    with pytest.raises(ConfigError, match="formal"):
        formulate("Open it", "shouted")


def test_cropping_keeps_the_middle_and_resizing_the_constant():
    images = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    images[..., 10:30, 10:30] = 200
    assert (crop_and_resize(images, edge=None, crop=0.5) == 200).all()
    assert torch.equal(crop_and_resize(images, edge=40, crop=1.0), images)
    assert crop_and_resize(images[..., :20, :], edge=16, crop=1.0).shape == (1, 3, 16, 32)
    flat = torch.full((1, 3, 50, 70), 77, dtype=torch.uint8)
    assert (crop_and_resize(flat, edge=32, crop=0.9) == 77).all()


def test_only_the_named_layers_learn():
    backbone = qwen(3, learn_top_layers=1)
    learns = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert learns
    assert all("language_model.layers.2." in n for n in learns)
    backbone(tiny_batch(2).observation).x.sum().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)
    assert not qwen(3)(tiny_batch(2).observation).x.requires_grad
    with pytest.raises(ConfigError, match=r"1\.\.4"):
        qwen(5)


def test_a_processor_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="WordProcessor"):
        HubProcessor(path=str(tmp_path / "nowhere"))


class Picture:
    """Stands for Eagle's processor: one token per character, five per image."""

    def __init__(self):
        self.tokenizer = types.SimpleNamespace(padding_side="left")
        self.chats = []

    def apply_chat_template(self, chat, tokenize, add_generation_prompt):
        self.chats.append(chat)
        kinds = [c["type"] for c in chat[0]["content"]]
        return "".join("#" if k == "image" else "t" for k in kinds) + ("g" if add_generation_prompt else "")

    def __call__(self, text, images, return_tensors, padding, images_kwargs=None):
        ids = torch.tensor([[9 if c == "#" else 3 for c in row for _ in range(5 if c == "#" else 1)] for row in text])
        pixels = torch.zeros(len(images), 3, 8, 8)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


@pytest.fixture
def eagle(monkeypatch):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    class Eagle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            text = {k: v for k, v in TEXT.items() if k != "rope_parameters"}
            self.language_model = Qwen3ForCausalLM(Qwen3Config(**text))
            self.vision_model, self.mlp1 = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
            self.config = types.SimpleNamespace(image_token_index=9)

        def forward(self, input_ids, attention_mask, pixel_values, output_hidden_states):
            return self.language_model(
                input_ids, attention_mask=attention_mask, output_hidden_states=output_hidden_states, use_cache=False
            )

    torch.manual_seed(0)
    model = Eagle().eval()
    monkeypatch.setattr(eagle_module, "_load", lambda *a: (Picture(), model))

    def make(**changes):
        settings = {"path": "x", "revision": PIN, "trust_remote_code": True, "select_layer": 2, "named": "eagle_model"}
        with trusting(Trust(remote_code=True)):
            return EagleBackbone(**{**settings, **changes})

    return make


def test_eagle_gives_the_normed_features_of_the_layers_kept(eagle):
    backbone = eagle()
    language = backbone.eagle_model.language_model.model
    assert len(language.layers) == 2
    seen = []
    language.norm.register_forward_hook(lambda m, i, o: seen.append(o) or None)
    tokens = backbone(tiny_batch(2, views=2).observation)
    assert torch.equal(tokens.x, seen[0])
    assert not tokens.x.requires_grad
    assert tokens.image[0].tolist() == [True] * 10 + [False, False]
    assert all(n.startswith("eagle_model.") for n, _ in backbone.named_parameters())


def test_eagles_prompt_has_the_order_of_its_version(eagle):
    observation = tiny_batch(1, views=2).observation
    old, new = (
        eagle(),
        eagle(named="model", image_first=False, generation_prompt=False, language="formal", select_layer=1),
    )
    kinds = []
    for backbone in (old, new):
        backbone(observation)
        kinds.append([c["type"] for c in backbone.processor.chats[0][0]["content"]])
    assert kinds == [["image", "image", "text"], ["text", "image", "image"]]
    assert old.processor.chats[0][0]["content"][-1]["text"] == "['open drawer 0']"


def test_eagles_projection_and_top_layers_learn_when_told(eagle):
    backbone = eagle(project_to=16, learn_top_layers=1)
    tokens = backbone(tiny_batch(1).observation)
    assert tokens.x.shape[2] == backbone.width == 16
    learns = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert {n.split(".layers.")[0] for n in learns if "layers" in n} == {"eagle_model.language_model.model"}
    assert all(".layers.1." in n or n.startswith("eagle_linear.") for n in learns)


def test_foreign_code_runs_only_when_trusted_and_pinned():
    settings = {"path": "x", "select_layer": 2, "named": "model"}
    with pytest.raises(ConfigError, match="trust_remote_code=true"):
        EagleBackbone(**settings, revision=PIN, trust_remote_code=False)
    for revision in (None, "main", PIN[:12]):
        with pytest.raises(ConfigError, match="40-digit"):
            EagleBackbone(**settings, revision=revision, trust_remote_code=True)
    with pytest.raises(ConfigError, match="--trust-remote-code"):
        EagleBackbone(**settings, revision=PIN, trust_remote_code=True)


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)


@pytest.fixture
def qwen_folder(tmp_path):
    """A processor folder of transformers' own making, with a vocabulary of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3VLProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    special = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|im_start|>", "<|im_end|>"]
    words = ["<pad>", "<unk>", "user", "open", "the", "lower", "drawer"]
    inner = Tokenizer(models.WordLevel({w: k for k, w in enumerate(words + special)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=special
    )
    pixels = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2, "do_resize": False}
    pixels |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=CHAT,
    )
    processor.save_pretrained(tmp_path)
    return str(tmp_path), inner


def test_the_hub_processor_gives_what_the_model_reads(qwen_folder):
    folder, vocabulary = qwen_folder
    images = torch.randint(0, 256, (2, 2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inputs = HubProcessor(path=folder)(images, ("Open!", "open the lower drawer"))
    own = WordProcessor(vocabulary=64, patch=8, merge=2)(images, ("open", "open the lower drawer"))
    assert torch.equal(inputs["image_grid_thw"], own["image_grid_thw"])
    torch.testing.assert_close(inputs["pixel_values"], own["pixel_values"], rtol=0, atol=1e-5)
    piece = vocabulary.token_to_id("<|image_pad|>")
    assert (inputs["input_ids"] == piece).sum(dim=1).tolist() == [12, 12]
    assert torch.equal(inputs["mm_token_type_ids"] == 1, inputs["input_ids"] == piece)
    mask = inputs["attention_mask"].bool()
    assert mask[1].all()
    assert not mask[0, :3].any()
    # images before the text, and "Open!" is said without its mark
    first = inputs["input_ids"][0][mask[0]].tolist()
    assert first.index(piece) < first.index(vocabulary.token_to_id("open"))
    special = {"image_token": piece, "video_token": vocabulary.token_to_id("<|video_pad|>")}
    special |= {f"vision_{k}_token": vocabulary.token_to_id(f"<|vision_{k}|>") for k in ("start", "end")}
    processor = HubProcessor(path=folder)
    backbone = QwenBackbone(processor=processor, text=TEXT, vision=VISION, select_layer=2, **special).eval()
    observation = tiny_batch(2, views=2).observation
    tokens = backbone(observation)
    assert tokens.image.sum(dim=1).tolist() == [8, 8]
    assert torch.isfinite(tokens.x).all()
