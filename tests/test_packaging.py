"""What a user installs: a wheel with its configurations, and a library that needs only what it uses."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lara.cli import main

ROOT = Path(__file__).parent.parent
OPTIONAL = (
    *("mujoco", "metaworld", "gymnasium", "av", "torchcodec", "wandb", "diffusers", "timm", "transformers", "lpips"),
    *("matplotlib", "tensorboard", "peft", "torchvision"),
)
# As if they were not installed: neither an import nor a search for their spec finds them.
BLOCK = f"""
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def hidden(name, path=None, target=None):
    return None if name.split(".")[0] in {OPTIONAL!r} else find(name, path, target)
PathFinder.find_spec = hidden
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_a_wheel_installed_elsewhere_finds_its_configurations(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import lara, lara.config.compose as c; from pathlib import Path\n"
        f"assert Path(lara.__file__).is_relative_to({str(tmp_path)!r}), lara.__file__\n"
        "assert c.config_folder().name == '_conf', c.config_folder()\n"
        "assert c.resolved(c.compose('train', ['experiment=demo/lara', 'data.root=x']))['name'] == 'demo/lara'\n"
        "import sim_eval, real_eval"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(wheel).namelist()
    assert not [n for n in names if n.startswith(("tests/", "conf/"))]
    assert "lara/py.typed" in names
    assert {"lara/pages/templates/page.html", "lara/pages/templates/style.css"} <= set(names)
    assert (
        "console_scripts"
        in zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    )


def test_training_from_a_frame_cache_needs_no_optional_package(tmp_path):
    from tests.test_whole_program import SMALL

    data = tmp_path / "data"
    collect = [
        "collect",
        "benchmark=toy",
        "tasks=[reach-red,reach-blue]",
        "episodes=2",
        f"output={data}",
        "processes=1",
    ]
    assert main(collect) == 0
    train = [
        *("train", "experiment=demo/lara", f"data.root={data}", f"output={tmp_path}/run", *SMALL),
        *("data.cameras=[top]", "data.lam.cameras=[top]", "stage.steps=1"),
    ]
    assert main(["check", *train[1:]]) == 0  # builds the cache
    code = f"{BLOCK}\nfrom lara.cli import main\nsys.exit(main({train!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("feature", "extra"),
    [
        (
            "from lara.lam.encoders.timm_vit import TimmEncoder as T; T(name='vit_tiny_patch16_224', weights='random')",
            "vision",
        ),
        ("from lara.losses.reconstruction import Perceptual as P; P()", "perceptual"),
        ("from lara.policy.backbones.huggingface import HuggingFaceBackbone as H; H(path='x')", "vlm"),
        ("from lara.pages.charts import draw; draw([])", "report"),
        (
            "from sim_eval.metaworld.environment import MetaWorld as M; M(cameras=('corner2',), image_size=32, "
            "camera_positions={}, render_profile='fast', goal_seed=0).reset('reach-v3', 0)",
            "sim",
        ),
    ],
)
def test_a_feature_without_its_package_names_the_extra(feature, extra):
    done = subprocess.run([sys.executable, "-c", BLOCK + feature], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "MissingExtraError" in done.stderr, done.stderr[-1500:]
    assert f"pip install -e '.[{extra}]'" in done.stderr
