"""Robots. So far: the limits that every action passes (limits.py). Imports as sim_eval does; never torch."""
