"""The `lara` command. Only the chosen command's module is imported, so that help comes at once."""

from __future__ import annotations

import importlib
import sys

from lara import __version__
from lara.errors import LaraError, nearest
from lara.trust import take_trust, trusting

COMMANDS = {
    "collect": "demonstrations from a simulator's scripted experts -> a LeRobot dataset",
    "train": "one stage of one system, from conf/train.yaml and overrides -> checkpoints",
    "eval": "roll a policy out on a fixed list of episodes -> success rates with intervals, videos",
    "compare": "two evaluations of the same episodes -> exact paired test and a verdict",
    "check": "a dataset read, verified and cached, before anything trains on it",
    "probe": "whether the latents of a LAM mean anything, with baselines -> one page",
    "lams": "several LAMs trained and probed on the same clips -> one side-by-side table with baselines",
    "policies": "several systems, each from data to a policy, on the same goals -> one table of success and cost",
    "import": "a released Moto / LARA tokenizer -> a checkpoint of ours, executing nothing that comes with it",
    "export": "a part of a run as a folder of its own: `lara export lam`, `lara export policy`",
    "label": "a LAM's latent actions for every frame of a dataset or folder of videos -> columns",
    "show": "what a configuration would build: parts, sizes, what learns, memory; runs nothing",
    "demo": "the whole loop on Meta-World in minutes -> outputs/demo/report.html",
}

MODULES = {"import": "imports"}  # "import" is a word of Python, and no name for a module

HELP = f"""lara {__version__}: latent action models and vision-language-action policies that learn from each other

usage: lara COMMAND [group=choice] [key=value] ...

{{commands}}

examples:
  lara demo
  lara collect benchmark=metaworld 'tasks=[drawer-open-v3,door-lock-v3]' episodes=30 output=data/two
  lara train experiment=demo_lara data.root=data/two
  lara eval client.checkpoint=outputs/demo_lara output=outputs/eval_lara
  lara show experiment=lara_pretrain

lara COMMAND --help shows a command's configuration and its choices. Two flags, believed here and in no file:
  --allow-package NAME    also build classes of this package that are marked as buildable (repeatable)
  --trust-remote-code     run the code that comes with a Hugging Face model pinned by its commit
"""


def main(argv: list[str] | None = None) -> int:
    """Runs one command; errors of ours are one message on stderr and exit code 2."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(commands="\n".join(f"  {name:9}{text}" for name, text in COMMANDS.items())))
        return 0
    if arguments[0] in ("-V", "--version"):
        print(__version__)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"lara: there is no command '{name}'. {nearest(name, COMMANDS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"lara.commands.{MODULES.get(name, name)}")
    if any(a in ("-h", "--help") for a in rest):
        from lara.commands import usage

        print(usage(module, name, COMMANDS[name]))
        return 0
    try:
        trust, rest = take_trust(rest)
        with trusting(trust):
            return module.main(rest)
    except LaraError as error:
        print(f"lara {name}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
