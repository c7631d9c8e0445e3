"""`lara lams`: several latent action models trained and probed alike, in tables with their baselines."""
