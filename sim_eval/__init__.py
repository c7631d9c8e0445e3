"""Benchmarks in simulation. Imports lara.serve.client, lara.evaluation, lara.specs and lara.errors only; never torch."""
