"""The demo: every step is a command that a user could type, run in order, timed, and shown on one page."""
