"""A latent action model -> columns of latent actions for every frame of a dataset."""
