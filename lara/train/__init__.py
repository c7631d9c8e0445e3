"""Training: one loop for every system, with named stages, safe checkpoints and exact resumption."""
