"""A part of a run as a folder of its own. The first word says which part:

  lara export lam checkpoint=RUN output=FOLDER [ema=false]
  lara export policy checkpoint=RUN to=native|lerobot|openpi|groot output=FOLDER [ema=false]
                    [base=CHECKPOINT] [embodiment=NAME]

lam: the latent action model with its latent space; nothing of policy or projector is inside. What comes out opens with
lara label, lara probe, stage.load.lam=FOLDER and lara.serve.load.load_lam.
policy: the policy alone, adapters merged, with its statistics; in lara's format (to=native, which opens with lara eval
client.checkpoint=FOLDER), or in that of the package that its weights came from: lerobot, openpi, or groot (with base=,
the checkpoint that the run started from). A format that the policy does not have is answered with those it has.
ema=false takes the weights of the last step where the run kept a moving average.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = ""

_FORMS = {
    "lam": "checkpoint=RUN output=FOLDER [ema=true|false]",
    "policy": "checkpoint=RUN to=native|lerobot|openpi|groot output=FOLDER [ema=true|false] [base=CHECKPOINT] "
    "[embodiment=NAME]",
}


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError, nearest

    word = arguments[0] if arguments else ""
    if word not in _FORMS:
        said = f"'{word}' cannot be exported" if word else "say what to export"
        raise ConfigError(
            f"{said}: lara export {'|'.join(_FORMS)} checkpoint=RUN output=FOLDER. {nearest(word, _FORMS)}"
        )
    given = _options(word, arguments[1:])
    output, ema = Path(given["output"]), given.get("ema", "true") == "true"
    if word == "lam":
        from lara.export.lam import export_lam

        folder = export_lam(given["checkpoint"], output, ema=ema)
    else:
        from lara.export.policy import export_policy

        folder = export_policy(
            checkpoint=given["checkpoint"],
            to=given["to"],
            output=output,
            ema=ema,
            base=given.get("base"),
            embodiment=given.get("embodiment"),
        )
    files = [path for path in folder.rglob("*") if path.is_file()]
    print(f"{folder}: {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB in {len(files)} files")
    return 0


def _options(word: str, arguments: Sequence[str]) -> dict[str, str]:
    """key=value pairs, checked against the form of the word. Raises ConfigError."""
    from lara.errors import ConfigError

    form = _FORMS[word]
    keys = {part.strip("[]").split("=")[0] for part in form.split()}
    needed = {part.split("=")[0] for part in form.split() if not part.startswith("[")}
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    wrong = [argument for argument in arguments if argument.split("=", 1)[0] not in keys or "=" not in argument]
    wrong += [f"ema={given['ema']}"] if given.get("ema", "true") not in ("true", "false") else []
    missing = sorted(needed - set(given))
    if wrong or missing:
        raise ConfigError(
            f"expected: lara export {word} {form}; missing: {', '.join(missing) or 'nothing'}; not understood: "
            f"{', '.join(wrong) or 'nothing'}"
        )
    return given
