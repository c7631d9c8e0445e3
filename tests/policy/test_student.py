"""Students: what their predictions may depend on, that latents reach the expert, and that text is learned causally."""

import dataclasses

import pytest
import torch

from lara.errors import ConfigError
from lara.nn.writer import END, Writer
from lara.policy.backbones.compact_student import CompactStudent
from lara.policy.backbones.huggingface_student import HuggingFaceStudent
from tests.tiny import SIZE, tiny_batch

D, SCENE, MOTION = 6, 2, 3


def _compact():
    torch.manual_seed(0)
    return CompactStudent(
        dim=D, scene=SCENE, motion=MOTION, views=1, image_size=SIZE, patch=16, width=32, heads=4, layers=1
    )


@pytest.fixture(params=["compact", "huggingface"])
def student(request):
    if request.param == "compact":
        return _compact()
    torch.manual_seed(0)
    path = request.getfixturevalue("paligemma")
    return HuggingFaceStudent(path=path, dim=D, scene=SCENE, motion=MOTION)


def _words(observation, *words):
    return dataclasses.replace(observation, instruction=(*words, *observation.instruction[len(words) :]))


def test_a_prediction_is_of_its_own_picture_and_words(student):
    observation = tiny_batch(3).observation
    student.eval()
    with torch.no_grad():
        z = student.predict_latents(observation, observation.instruction).z_BQD
        assert z.shape == (3, SCENE + MOTION, D)
        images = observation.images_BVCHW.clone()
        images[0] = 255 - images[0]
        seen = student.predict_latents(
            dataclasses.replace(observation, images_BVCHW=images), observation.instruction
        ).z_BQD
        told = student.predict_latents(_words(observation, "close the drawer"), observation.instruction).z_BQD
        # neither what is to be written nor the state is known to the prediction
        blind = dataclasses.replace(observation, state_BS=observation.state_BS + 1)
        written = student.predict_latents(blind, ("open", "close", "the drawer")).z_BQD
    for other in (seen, told):
        assert (other[0] - z[0]).abs().max() > 1e-5
        torch.testing.assert_close(other[1:], z[1:], atol=1e-5, rtol=1e-4)
    assert torch.equal(written, z)


def test_the_experts_tokens_end_in_the_predicted_latents(student):
    observation = tiny_batch(3).observation
    student.eval()
    with torch.no_grad():
        tokens = student(observation)
        z = student.predict_latents(observation, observation.instruction).z_BQD
        torch.testing.assert_close(tokens.x[:, -SCENE - MOTION :], student.up(z))
    assert tokens.x.shape[2] == student.width
    assert tokens.mask[:, -SCENE - MOTION :].all()
    # the prediction is a road for the expert's gradient
    student(observation).x[:, -SCENE - MOTION :].sum().backward()
    assert student.down.weight.grad.any() if hasattr(student.down, "weight") else student.down[2].weight.grad.any()


def test_every_parameter_learns_from_the_two_aims(student):
    observation = tiny_batch(3).observation
    predicted = student.train().predict_latents(observation, ("open the drawer", "close", "open"))
    (predicted.z_BQD.square().sum() + predicted.text).backward()
    idle = {n for n, p in student.named_parameters() if p.grad is None or not p.grad.any()}
    # what maps latents into an expert's context waits for an expert; PaliGemma leaves SigLIP's pooling head unused
    assert {n for n in idle if "vision_tower" not in n} <= {"up.weight", "up.bias", "eyes.text_positions"}


def test_writing_is_learned_from_the_words_before_and_not_after(paligemma):
    """Changing a later word of the text leaves the scores of earlier ones alone."""
    torch.manual_seed(0)
    student = HuggingFaceStudent(path=paligemma, dim=D, scene=SCENE, motion=MOTION).eval()
    observation = tiny_batch(2).observation

    def scores(text):
        inputs = student.writing(observation, (text, text))
        assert inputs["labels"].shape == inputs["input_ids"].shape
        with torch.no_grad():
            return student.model(**inputs).logits, inputs["labels"]

    a, labels = scores("open the drawer")
    b, _ = scores("open the close")
    texts = (labels[0] >= 0).nonzero().flatten()
    assert len(texts) == 4  # three words and the end
    torch.testing.assert_close(a[0, : texts[2]], b[0, : texts[2]])
    assert (a[0, texts[2]] - b[0, texts[2]]).abs().max() > 1e-5


def test_without_a_suffix_the_labels_are_the_text_by_count(paligemma, monkeypatch):
    """The general way (causal language models) marks the same ids as PaliGemma's own processor does."""
    student = HuggingFaceStudent(path=paligemma, dim=D, scene=SCENE, motion=MOTION)
    observation = _words(tiny_batch(2).observation, "open", "close the drawer 1 2 3")
    texts = ("open the drawer", "close")
    own = student.writing(observation, texts)

    class Plain(type(student.processor)):
        def __call__(self, images=None, text=None, **options):
            return super().__call__(images=images, text=text, **options)

    monkeypatch.setattr(student.processor, "__class__", Plain)
    ours = student.writing(observation, texts)
    for k in range(2):
        wanted = own["labels"][k][own["labels"][k] >= 0].tolist()
        assert ours["labels"][k][ours["labels"][k] >= 0].tolist() == wanted


def test_students_that_cannot_be_are_refused(paligemma):
    with pytest.raises(ConfigError, match="learns"):
        HuggingFaceStudent(path=paligemma, dim=D, scene=1, motion=1, frozen=True)
    with pytest.raises(ConfigError, match="camera"):
        CompactStudent(dim=D, scene=1, motion=1, views=0, image_size=32, patch=16, width=32, heads=4, layers=1)
    observation = dataclasses.replace(
        tiny_batch(1).observation, images_BVCHW=torch.zeros(1, 0, 3, 32, 32, dtype=torch.uint8)
    )
    with pytest.raises(ConfigError, match="camera"):
        HuggingFaceStudent(path=paligemma, dim=D, scene=1, motion=1)(observation)


@pytest.fixture(scope="module")
def writer():
    torch.manual_seed(0)
    return Writer(width=32, heads=4, length=12)


def test_a_byte_is_scored_from_the_bytes_before_it_alone(writer):
    ids = torch.randint(0, END, (2, 12), generator=torch.Generator().manual_seed(0))
    context = torch.randn(2, 3, 32)
    with torch.no_grad():
        a = writer(ids, context)
        changed = ids.clone()
        changed[:, 7] = (changed[:, 7] + 1) % END
        b = writer(changed, context)
        torch.testing.assert_close(a[:, :7], b[:, :7], atol=1e-5, rtol=1e-4)
        assert (a[:, 7:] - b[:, 7:]).abs().amax(dim=2).min() > 1e-5
        # a masked context token is not seen, a real one is
        mask = torch.tensor([[True, True, False]] * 2)
        other = context.clone()
        other[:, 2] *= -1
        torch.testing.assert_close(writer(ids, context, mask), writer(ids, other, mask))
        assert (writer(ids, other) - a).abs().max() > 1e-5


def test_texts_end_where_they_end_and_are_cut_where_they_must(writer):
    assert writer.targets("ab") == [97, 98, END] + [-1] * 9
    assert writer.targets("ö" * 10) == list(("ö" * 6).encode())
    assert writer.targets("") == [END] + [-1] * 11
    # what is not there weighs nothing: a short text's loss is its own, beside a text of any length
    context = torch.randn(1, 3, 32)
    alone = writer.loss(("ab",), context)
    with torch.no_grad():
        scores = torch.log_softmax(writer(torch.tensor([[END, 97, 98]]), context), dim=-1)
    by_hand = -(scores[0, 0, 97] + scores[0, 1, 98] + scores[0, 2, END]) / 3
    torch.testing.assert_close(alone, by_hand, atol=1e-5, rtol=1e-4)


def test_a_writer_learns_to_write_what_each_context_means():
    torch.manual_seed(0)
    writer, context = Writer(width=32, heads=4, length=12), torch.randn(2, 3, 32)
    optimizer = torch.optim.AdamW(writer.parameters(), lr=5e-3)
    texts = ("close it", "öffne")
    for _ in range(80):
        optimizer.zero_grad()
        writer.loss(texts, context).backward()
        optimizer.step()
    assert writer.write(context) == list(texts)
