"""Every way in which a folder of somebody else enters this program."""

from tests.security.sound import World


def load_policy(world: World) -> None:
    from lara.serve.policy import load_policy

    load_policy(checkpoint=str(world.run))


def load_lam(world: World) -> None:
    from lara.serve.load import load_lam

    load_lam(world.run)


def load_exported_lam(world: World) -> None:
    from lara.serve.load import load_lam

    _ = load_lam(world.root / "lam")[1].step


def start_from(world: World) -> None:
    """lara train stage.load={lam: RUN}"""
    from lara.config.build import build
    from lara.train.load_parts import load_parts
    from tests.security.sound import SYSTEM

    load_parts(build(SYSTEM), {"lam": str(world.run)})


def inherit(world: World) -> None:
    """lara train inherit=RUN"""
    from lara.launch import build_data, with_embodiments

    data = {"embodiment": "dot", "slot": 0}
    build_data(with_embodiments({"inherit": str(world.run), "slots": 4, "data": data, "system": {}}))


def go_on(world: World) -> None:
    """lara train output=RUN: from its latest checkpoint"""
    import torch

    from lara.errors import CheckpointError

    try:
        from lara.store.checkpoint import load_latest
    except ImportError:  # at the commit before the mend
        from lara.train.checkpoint import load_latest

    found = load_latest(world.run)
    if found is None:
        raise CheckpointError("none")
    _ = found.step, found.config, found.card, found.optimizer_groups, found.tensors("system")
    assert torch.is_grad_enabled()


def label(world: World) -> None:
    from lara.label.run import label

    label(lam=str(world.run), dataset=str(world.videos), output=str(world.root / "labels"))


def probe(world: World) -> None:
    from lara.cli import main

    run([main, "probe", f"checkpoint={world.run}", f"output={world.root / 'probes'}", "probe=[algebra]", "clips=4"])


def export_policy(world: World) -> None:
    from lara.cli import main

    out = world.root / "exported_again"
    run([main, "export", "policy", f"checkpoint={world.run}", "to=native", f"output={out}"])


def export_lam(world: World) -> None:
    from lara.cli import main

    run([main, "export", "lam", f"checkpoint={world.run}", f"output={world.root / 'lam_again'}"])


def import_moto(world: World) -> None:
    from lara.cli import main

    run([main, "import", "moto", f"path={world.root / 'moto'}", f"output={world.root / 'imported'}"])


def moto_weights(world: World) -> None:
    """The same behind its configuration; the encoder is a stand-in, because the real one is fetched."""
    from torch import nn

    from lara.lam.moto import load_moto

    encoder = nn.Identity()
    encoder.tokens, encoder.width = 197, 768
    load_moto(world.root / "moto", encoder=encoder)


def compare(world: World) -> None:
    from lara.cli import main

    run([main, "compare", str(world.evaluation), str(world.evaluation)])


def labels(world: World) -> None:
    """data.lam.codes.root=SIDECAR"""
    from lara.data.lam_inputs.labels import label_width

    label_width(world.root / "labels", "latent", "z")


def dataset(world: World) -> None:
    from lara.data.sources.videos import open_source

    open_source(world.root / "dataset")


class Refused(Exception):
    """The command answered with one message and exit code 2."""


def run(call: list) -> None:
    """A command as the command line runs it: its errors are printed, not raised."""
    if call[0](call[1:]) == 2:
        raise Refused


POLICY = (load_policy, export_policy)
LAM = (load_lam, label, export_lam, probe)
RECORDS = (load_policy, load_lam, start_from, inherit, go_on)
CONFIG = (load_policy, load_lam, inherit, go_on)
