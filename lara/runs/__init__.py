"""Several trainings as one resumable run: what to run, what is finished, how far it is, and stopping without a lie."""
