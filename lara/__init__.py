"""lara: latent action models and vision-language-action policies that learn from each other.

Importing this package is cheap (no torch); the parts import what they need.
"""

__version__ = "0.1.0"
