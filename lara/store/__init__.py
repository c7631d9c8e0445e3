"""Everything that lara keeps on disk: whole-or-absent writes, manifests, checkpoints, exports, locks."""
