"""Does a latent action mean anything? Pure functions over a LAM and held-out frames, each with its baselines.

A latent that copies the future frame reconstructs perfectly and means nothing; one that is constant obeys every
algebraic law. So no probe stands alone, and every table has baselines beside the model: copying the current frame,
latents of other samples ("other_latent"), and the plain difference of pixels.
"""
