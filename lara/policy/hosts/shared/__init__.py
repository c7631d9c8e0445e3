"""What the families of hosts have in common: their contract, the decoder, prefixes, prompts' tokenizers, weights."""
