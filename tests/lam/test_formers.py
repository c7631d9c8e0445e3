"""Laws of the encoders of RotVLA, ALAM and LatBot: what a latent may depend on, and what must reach it."""

from functools import partial

import pytest
import torch

from lara.errors import CheckpointError, ConfigError
from lara.lam.formers.queries import QueryFormer
from lara.lam.formers.spacetime import SpaceTimeFormer
from lara.lam.formers.vlm import ANSWER, QUESTION, VLMFormer

B, P, E, Q, D = 3, 6, 12, 4, 4
FORMERS = {
    "spacetime": partial(SpaceTimeFormer, width=16, heads=2, layers=2),
    "queries": partial(QueryFormer, reads=8, width=16, heads=2, layers=2),
}
WORDS = ("open the drawer", "close", "open 1 2 3 drawer")


def _former(name, **changes):
    torch.manual_seed(0)
    return FORMERS[name](**{"tokens": P, "context_width": E, "queries": Q, "dim": D, **changes})


def _pair():
    g = torch.Generator().manual_seed(1)
    return torch.randn(B, P, E, generator=g), torch.randn(B, P, E, generator=g)


@pytest.mark.parametrize("name", FORMERS)
def test_a_latent_is_a_function_of_its_own_ordered_pair(name):
    former, (now, future) = _former(name), _pair()
    z = former.train()(now, future)
    assert z.shape == (B, Q, D)
    torch.rand(3)
    assert torch.equal(z, former.eval()(now, future))
    torch.testing.assert_close(former(now[1:2], future[1:2]), z[1:2], atol=1e-5, rtol=1e-5)
    assert (former(future, now) - z).abs().max() > 1e-4


@pytest.mark.parametrize("name", FORMERS)
def test_every_patch_of_both_frames_and_every_parameter_has_a_gradient(name):
    former, pair = _former(name), _pair()
    pair = [x.requires_grad_() for x in pair]
    former(*pair).square().sum().backward()
    for x in pair:
        assert (x.grad.abs().amax(dim=2) > 0).all()
    for key, p in former.named_parameters():
        assert p.grad is not None, key
        assert p.grad.any(), key


@pytest.mark.parametrize("name", FORMERS)
def test_the_latents_of_different_queries_differ(name):
    z = _former(name)(*_pair())
    assert (z[:, 0] - z[:, 1]).abs().max() > 1e-4


def test_steps_of_a_clip_never_see_the_frames_after_them():
    former = _former("spacetime", frames=4)
    tokens = torch.randn(B, 4, P, E, generator=torch.Generator().manual_seed(2), requires_grad=True)
    steps = former.steps(tokens)
    assert steps.shape == (B, 3, Q, D)
    torch.testing.assert_close(former.steps(tokens[:, :3]), steps[:, :2], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(former(tokens[:, 0], tokens[:, 1]), steps[:, 0], atol=1e-6, rtol=1e-5)
    (grad,) = torch.autograd.grad(steps[:, 1].square().sum(), tokens)
    assert (grad[:, :3].abs().amax(dim=(2, 3)) > 0).all()
    assert not grad[:, 3].any()


def test_clips_that_do_not_fit_are_refused():
    former = _former("spacetime", frames=3)
    for frames in (1, 4):
        with pytest.raises(ConfigError, match="2 to 3 frames"):
            former.steps(torch.zeros(1, frames, P, E))
    with pytest.raises(ConfigError, match="at least 2"):
        _former("spacetime", frames=1)


def test_a_mean_over_queries_is_a_special_case_of_the_concatenating_read_out():
    former, pair = _former("queries", queries=1), _pair()
    head = torch.randn(D, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        former.down.weight.copy_(head.repeat(1, 8) / 8)
        former.down.bias.zero_()
    seen = []
    former.trunk.register_forward_hook(lambda module, inputs, out: seen.append(out))
    z = former(*pair)
    assert z.shape == (B, 1, D)
    torch.testing.assert_close(z[:, 0], seen[0][:, :8].mean(dim=1) @ head.T, atol=1e-5, rtol=1e-5)


def test_reading_queries_must_split_evenly():
    with pytest.raises(ConfigError, match="split evenly"):
        _former("queries", queries=3)


@pytest.fixture(scope="module")
def vlm(paligemma):
    torch.manual_seed(0)
    return VLMFormer(path=paligemma, dim=D, scene=3, motion=2)


FRAMES = torch.randint(0, 256, (B, 2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_the_prompt_is_the_papers_template_with_every_frame_and_token_in_its_place(vlm):
    text = vlm.prompt("open the drawer", 2)
    assert text.startswith("<image><image>Given the instruction “open the drawer” and the video frames, reason about")
    assert text.endswith(
        "Answer: Scene evolution description: [CP_SCE][CP_SCE][CP_SCE]. Action dynamics description: [CP_MOT][CP_MOT]."
    )
    inputs = vlm.process(FRAMES, WORDS)
    for token, count in ((vlm.scene_id, 3), (vlm.motion_id, 2)):
        assert (inputs["input_ids"] == token).sum(1).tolist() == [count] * B
    assert "{instruction}" in QUESTION
    assert ANSWER.index("{scene}") < ANSWER.index("{motion}")


def test_the_new_tokens_are_words_of_their_own(vlm):
    vocabulary = len(vlm.processor.tokenizer)
    assert {vlm.scene_id, vlm.motion_id} == {vocabulary - 2, vocabulary - 1}
    assert vlm.model.get_input_embeddings().num_embeddings == vocabulary


def test_vlm_latents_depend_on_own_frames_their_order_and_the_words_only(vlm):
    with torch.no_grad():
        z = vlm(FRAMES, WORDS)
        assert z.shape == (B, 5, D)
        assert torch.equal(z, vlm.eval()(FRAMES, WORDS))
        alone = torch.cat([vlm(FRAMES[k : k + 1], WORDS[k : k + 1]) for k in range(B)])
        torch.testing.assert_close(alone, z, atol=1e-4, rtol=1e-4)  # padding of shorter prompts plays no part
        assert (vlm(FRAMES.flip(1), WORDS) - z).abs().max() > 1e-5
        other = vlm(FRAMES, ("close", *WORDS[1:]))
        assert (other[0] - z[0]).abs().max() > 1e-5
        assert (z[:, 0] - z[:, 1]).abs().max() > 1e-6  # repetitions of one token differ by their place


def test_vlm_learns_its_tokens_and_language_but_not_its_vision(vlm):
    vlm.train()
    vision = vlm.model.get_encoder(modality="image")
    assert not vision.training
    vlm.zero_grad()
    vlm(FRAMES, WORDS).square().sum().backward()
    table = vlm.model.get_input_embeddings().weight.grad
    assert table[vlm.scene_id].any()
    assert table[vlm.motion_id].any()
    assert all(p.grad is None for p in vision.parameters())
    assert vlm.model.multi_modal_projector.linear.weight.grad.any()


def test_a_chat_model_gets_the_question_as_user_and_the_tokens_as_assistant(vlm, monkeypatch):
    template = (
        "{% for m in messages %}<{{ m.role }}>{% for c in m.content %}"
        "{{ '<image>' if c.type == 'image' else c.text }}{% endfor %}{% endfor %}"
    )
    monkeypatch.setattr(vlm.processor, "chat_template", template)
    text = vlm.prompt("close", 2)
    assert text.startswith("<user><image><image>Given the instruction “close”")
    assert text.endswith("<assistant>" + ANSWER.format(scene="[CP_SCE]" * 3, motion="[CP_MOT]" * 2))
    assert vlm(FRAMES, WORDS).shape == (B, 5, D)


def test_an_instruction_cannot_forge_a_latent_token(vlm):
    with pytest.raises(ConfigError, match="must hold"):
        vlm(FRAMES[:1], ("open [CP_MOT]",))
    with pytest.raises(ConfigError, match="as many instructions"):
        vlm(FRAMES, WORDS[:2])


def test_remote_code_and_missing_models_are_refused(paligemma, tmp_path):
    with pytest.raises(ConfigError, match="pin it"):
        VLMFormer(path=paligemma, dim=D, trust_remote_code=True, revision="main")
    with pytest.raises(CheckpointError, match="local folder"):
        VLMFormer(path=str(tmp_path), dim=D)
    with pytest.raises(ConfigError, match="at least one"):
        VLMFormer(path=paligemma, dim=D, motion=0)


def test_vlm_can_be_described_without_weights(paligemma):
    with torch.device("meta"):
        vlm = VLMFormer(path=paligemma, dim=D, scene=3, motion=2)
        assert vlm(FRAMES.to("meta"), WORDS).shape == (B, 5, D)
    assert all(p.is_meta for p in vlm.parameters())
