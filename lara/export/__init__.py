"""A trained policy as a folder of its own, without the latent action model that taught it."""
