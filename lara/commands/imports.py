"""What others made -> what this project reads. Nothing of it is executed.

  lara import moto path=path/to/released_folder output=outputs/moto [encoder=/path/to/mae.safetensors] [pixels=unit]
  lara import hdf5 path=path/to/libero_goal output=data/libero_goal [images=flip] [storage=h264] [fps=20]
                   [task='open the drawer'] [state='[ee_states,joint_states]']

moto: a released Moto or LARA latent motion tokenizer -> a checkpoint of this project.

encoder: the frozen MAE ViT as timm exports it; downloaded when not given. pixels: "imagenet" unless the checkpoint was
trained on pixels in [0, 1] ("unit", LARA's stage 1 alone). The result starts a stage (stage.load={lam: outputs/moto})
and can be probed with another run's data (lara probe checkpoint=outputs/moto data_of=outputs/my_run output=...).

hdf5: demonstrations of LIBERO or robomimic, a file or a folder -> a LeRobotDataset v3.0. images: rotate (for LIBERO
unless given: by 180 degrees, as its public conversions and evaluations do, which mirrors the scene), flip (upright and
not mirrored) or keep (for others unless given). storage: av1 unless given, h264 or png. Stopped, the same command goes
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lara.commands.forms import read_form

CONFIG = ""
FORMS = {
    "moto": "path=RELEASED output=FOLDER [encoder=MAE.safetensors] [pixels=imagenet|unit]",
    "hdf5": "path=FILE_OR_FOLDER output=FOLDER [images=rotate|flip|keep] [storage=av1|h264|png] [fps=20] [task=WORDS] "
    "[state=[OBSERVATION,...]]",
}


def main(arguments: Sequence[str]) -> int:
    word, given = read_form("lara import", FORMS, arguments)
    paths = Path(given["path"]), Path(given["output"])
    if word == "hdf5":
        from lara.data.convert.command import convert_said

        print("\n".join(convert_said(*paths, given)))
        return 0
    from lara.imports.moto import import_moto

    print(import_moto(*paths, encoder=given.get("encoder", "hub"), unit_pixels=given.get("pixels") == "unit"))
    return 0
