"""Values arrive as typed: a table of awkward ones under every root; keys behind interpolations can be set."""

import os

import pytest

from lara.config.compose import compose, config_folder, resolved
from lara.config.overrides import literal
from lara.config.value_types import OPTIONAL, require_arguments
from lara.errors import ConfigError

# what each root leaves open
OPEN = {
    "train": ["data.root=x", "policy.backbone.path=x"],
    "eval": ["client.checkpoint=x", "output=x"],
    "collect": [],
    "demo": [],
    "probe": ["checkpoint=x", "output=x"],
    "lams": ["root=x"],
    "policies": ["root=x"],
    "label": ["checkpoint=x", "dataset=x"],
}

LITERAL = [
    *("step=1000/x", "a=b=c", "a(b)", "(x)", "f(1,2)", "glob(*)", "choice(a,b)", "a,b", "a, b", "run[1]", "[x", "x]"),
    *("a{b}", "{x", "it's", 'say "hi"', "x'y'", "über/日本", "🤖", "a b c", "a;b", "a!b", "#1", "a|b", "100%", "a:b"),
    *("C:\\x", "ends\\", "it's\\", "x\ny", "x\ty", "@x", "a?*", "..", "./123", "a~b"),
]
READ = {"3": 3, "1e-3": 1e-3, "true": True, "null": None, "[a,b]": ["a", "b"], "{a: 1}": {"a": 1}, "'3'": "3", "": ""}


@pytest.mark.parametrize("root", ["train", "eval", "collect", "label", "lams"])
def test_a_value_arrives_as_it_was_typed(root):
    given = [f"+v{k}={value}" for k, value in enumerate(LITERAL)]
    given += [f"+r{k}={value}" for k, value in enumerate(READ)]
    given += [f"output={LITERAL[len(root)]}", "+home=~/x", "+inside=${v0}(2)"]
    config = resolved(compose(root, [*(o for o in OPEN[root] if not o.startswith("output=")), *given]))
    assert [config[f"v{k}"] for k in range(len(LITERAL))] == LITERAL
    assert [config[f"r{k}"] for k in range(len(READ))] == list(READ.values())
    assert config["output"] == LITERAL[len(root)]
    assert config["home"] == os.path.expanduser("~/x") != "~/x"
    assert config["inside"] == "step=1000/x(2)"


@pytest.mark.parametrize("override", ["~a.b", "~a.b=3", "group=choice", "g@p=c", "a b=c", "a", "=3", ""])
def test_what_hydra_reads_or_must_refuse_is_left_alone(override):
    assert literal(override) == override


def test_a_key_behind_an_interpolation_is_set_where_it_points():
    collect = compose("collect", ["demonstrator.noise_std=0.2", "demonstrator.camera_positions.corner2=[1,2,3]"])
    assert collect.demonstrator.noise_std == collect.benchmark.demonstrator.noise_std == 0.2
    assert collect.demonstrator.camera_positions.corner2 == [1, 2, 3]
    evaluation = compose("eval", ["client.checkpoint=x", "output=x", "policy.steps=7", "+policy.new=1"])
    assert (evaluation.policy.steps, evaluation.policy.new) == (7, 1)
    train = compose("train", ["experiment=demo/lara", "data.root=x", "system.policy.expert.width=64"])
    assert train.system.policy.expert.width == train.policy.expert.width == 64


def test_a_misspelt_key_behind_an_interpolation_is_answered_with_the_key_that_can_be_set():
    with pytest.raises(ConfigError, match=r"Did you mean 'benchmark\.demonstrator\.noise_std'"):
        compose("collect", ["demonstrator.noise_stdd=0.2"])


WRONG = [
    ("collect", "episodes=three", "episodes is a whole number, got text: 'three'"),
    ("collect", "episodes=[3]", "episodes is a whole number, got a list"),
    ("collect", "seed=1.5", "seed is a whole number, got a number: 1.5"),
    ("collect", "episodes=1e1", "write episodes=10"),
    ("collect", "processes=-1", "processes is a whole number of at least 0, got -1"),
    ("collect", "seed=99999999999999999999", "seed is a whole number of at least 0"),
    ("collect", "keep_failures=maybe", "keep_failures is true or false, got text"),
    ("collect", "tasks=a b,c", "tasks is a list of text, got text: 'a b,c'; write 'tasks=[\"a b\",c]'"),
    ("collect", "tasks=[a,3]", "tasks is a list of text"),
    ("collect", "output=123", "write \"output='123'\""),
    ("collect", "output=true", "write \"output='true'\""),
    ("collect", "output=null", "output is text, got null"),
    ("collect", "storage=3", "storage is a mapping, got a whole number: 3"),
    ("eval", "episode_timeout=nan", "episode_timeout is a number"),
    ("label", "label.gap=x", "label.gap is a whole number or null, got text: 'x'"),
    ("label", "label.workers=two", "label.workers is a whole number"),
    ("probe", "mlp.lr=fast", "mlp.lr is a number, got text: 'fast'"),
    ("lams", "seeds=[a]", "seeds is a list of whole numbers"),
    ("train", "horizon=[1]", "horizon is a whole number"),
    ("train", "inherit=3", "inherit is text or null"),
]


@pytest.mark.parametrize(("root", "override", "words"), WRONG, ids=lambda x: x)
def test_a_value_of_the_wrong_type_is_named_with_what_is_expected(root, override, words):
    with pytest.raises(ConfigError) as caught:
        compose(root, [*OPEN[root], override])
    assert words in str(caught.value)


def test_every_root_value_says_its_type():
    roots = {path.stem for path in config_folder().glob("*.yaml")}
    for root in roots:
        compose(root, OPEN[root])  # an untyped null is an AssertionError
    assert all(key.split(".")[0] in roots for key in OPTIONAL)


def test_arguments_are_held_against_the_annotations_of_what_is_built():
    from lara.data.frames.encode import VideoStorage

    require_arguments(VideoStorage, {"gop": 2, "codec": "h264"})
    for argument, words in (
        ({"gop": "two"}, "storage.gop (of VideoStorage) is a whole number, got text: 'two'"),
        ({"codec": "vp9"}, "storage.codec (of VideoStorage) is one of libsvtav1|h264"),
        ({"crf": True}, "storage.crf (of VideoStorage) is a whole number, got true"),
    ):
        with pytest.raises(ConfigError) as caught:
            require_arguments(VideoStorage, argument, "storage")
        assert words in str(caught.value)
