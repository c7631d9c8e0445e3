"""Wrong command lines, each with its exit code and a piece of its message; none ends in a traceback."""

import pytest

from lara.cli import main

TRAIN = "train experiment=demo/lara data.root=x"
EVAL = "eval client.checkpoint=x output=y"
LABEL = "label checkpoint=/nowhere dataset=y output=z"

# (command line, or its words where one of them holds a blank; piece of the message); every exit code is 2
WRONG = [
    ("trian", "Did you mean 'train'?"),
    ("--halp", "there is no command '--halp'"),
    ("train experiment=demo_lra", "Did you mean 'demo/lara'"),
    ("train experiment=lara_depth_4", "experiment=lara_depth_4 is now experiment=lara/pretrain align.depth=4"),
    ("train optm=adamw", "'optim'"),
    ("train experiment=demo/lara", "these values must be given: data.root=..."),
    ("train =3", "overrides are key=value"),
    ("train word", "'word' is not an override; write key=value"),
    (["train", "a b=c"], "is not an override"),
    ("train --verbose", "'--verbose' is not an override"),
    ("train --allow-package", "--allow-package"),
    (f"{TRAIN} stage.stepz=3", "Did you mean 'stage.steps'"),
    (f"{TRAIN} latent=vq,fsq", "conf/latent/ has no 'vq,fsq'"),
    (f"{TRAIN} horizon=[1]", "horizon is a whole number, got a list: [1]"),
    (f"{TRAIN} seed=x", "seed is a whole number, got text: 'x'"),
    (f"{TRAIN} output=123", "output is text, got a whole number: 123; for these characters as text write"),
    ("train experiment=demo/lara data.root=/nowhere/at/all", "/nowhere/at/all"),
    ("check experiment=demo/lara data.root=/nowhere/at/all", "/nowhere/at/all"),
    ("check experiment=demo/lara", "data.root=..."),
    ("show experiment=demo/lara system=larra", "Did you mean 'lara'"),
    ("collect episodes=three", "episodes is a whole number, got text: 'three'"),
    ("collect episodes=0", "at least one episode"),
    ("collect episodes=1e1", "write episodes=10"),
    ("collect seed=1.5", "seed is a whole number, got a number: 1.5"),
    ("collect processes=-1", "processes is a whole number of at least 0, got -1"),
    ("collect processes=0", "at least one episode, one process"),
    ("collect tasks=drawer-open-v3", "write 'tasks=[drawer-open-v3]'"),
    ("collect tasks=[a,a]", "distinct tasks"),
    ("collect tasks=[]", "distinct tasks"),
    ("collect output=[a]", "output is text, got a list"),
    ("collect keep_failures=maybe", "keep_failures is true or false"),
    ("collect demonstrator.noise_stdd=1", "Did you mean 'benchmark.demonstrator.noise_std'"),
    ("collect +storage.codec=vp9", "codec (of VideoStorage) is one of libsvtav1|h264"),
    ("collect +storage.gop=two", "gop (of VideoStorage) is a whole number, got text: 'two'"),
    ("eval", "these values must be given: client.checkpoint=..., output=..."),
    ("eval client=expart output=x", "Did you mean 'expert'?"),
    (f"{EVAL} processes=two", "processes is a whole number"),
    (f"{EVAL} processes=0", "at least one process"),
    (f"{EVAL} episode_timeout=-1", "a positive timeout"),
    (f"{EVAL} videos=perhaps", "videos is true or false"),
    (f"{EVAL} protocol.tasks=drawer", "protocol.tasks must be a list of names"),
    (f"{EVAL} protocol.episodes=0", "protocol.episodes must be a whole number of at least 1"),
    (f"{EVAL} protocol.success_mode=best", "protocol.success_mode must be one of"),
    ("compare one", "two run folders"),
    ("compare a b alpha=x", "alpha is a number between 0 and 1 (both excluded), got 'x'"),
    ("compare a b alpha=2", "alpha is a number between 0 and 1"),
    ("compare /nowhere/a /nowhere/b", "is not the folder of an evaluation run"),
    ("label checkpoint=x dataset=y", "give an output folder, or in_place=true without one"),
    (LABEL, "/nowhere"),
    (f"{LABEL} label.device=gpu", "label.device is cpu|cuda"),
    (f"{LABEL} label.workers=two", "label.workers is a whole number"),
    (f"{LABEL} label.workers=-1", "label.workers is a whole number of at least 0, got -1"),
    ("probe checkpoint=x output=y probe=[linera]", "Did you mean 'linear'"),
    ("probe checkpoint=/nowhere output=y", "/nowhere"),
    ("export", "lara export lam"),
    ("export lamm", "'lamm' is none of them"),
    ("export policy checkpoint=x", "lara export policy checkpoint=RUN to="),
    ("import moto", "lara import moto path="),
    ("lams root=x seeds=[a]", "seeds is a list of whole numbers"),
    ("policies root=x workers=two", "workers is a whole number"),
    ("demo episodes=many", "episodes is a whole number"),
]


@pytest.mark.parametrize(("line", "words"), WRONG, ids=lambda x: x if isinstance(x, str) else " ".join(x))
def test_a_wrong_line_is_one_message_and_exit_code_two(line, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(line.split() if isinstance(line, str) else line) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("lara")
    assert "Traceback" not in said
    assert "internal error" not in said
    assert not list(tmp_path.iterdir()), "a refused line leaves nothing behind"


def test_there_are_at_least_forty():
    assert len(WRONG) >= 40
