"""Policies made elsewhere, under their own parameter names: what is shared, and one file or a few for each family."""
