"""Studies: `lara demo`, `lara lams` and `lara policies`, each a description of what to run and of what to show."""
