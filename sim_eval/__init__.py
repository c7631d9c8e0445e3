"""Benchmarks in simulation. Imports lara.{serve.client, evaluation, specs, errors, build} only, and never torch."""
