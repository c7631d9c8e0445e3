"""`lara demo` on the benchmark without a simulator, at a size that takes seconds."""

TRAININGS = [
    *("image_size=32", "horizon=4", "policy.expert.width=32", "policy.expert.blocks=4", "policy.backbone.width=32"),
    *("lam.encoder.width=32", "lam.former.width=32", "lam.decoder.width=32", "lam.decoder.layers=1"),
    "runtime={batch_size: 8, log_every: 5, save_every: 10, validate_every: 20, validation_limit: 1}",
]


def listed(values):
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


def overrides(output, *, steps, episodes):
    """What follows `lara demo`."""
    return [
        *(f"output={output}", "tasks=[reach-red,reach-blue]", "demonstrations=6", "camera=top"),
        *(f"lam_steps={steps}", f"steps={steps}", f"episodes={episodes}"),
        f"collection={listed(['benchmark=toy', 'processes=1'])}",
        f"evaluation={listed(['benchmark=toy', 'protocol=toy', 'protocol.max_steps=6', 'processes=1'])}",
        f"overrides={listed(TRAININGS)}",
    ]
