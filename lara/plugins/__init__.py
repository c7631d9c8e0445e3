"""LARA on policies that lara did not make: any torch module with a name for the layer to align."""
