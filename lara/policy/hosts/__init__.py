"""Policies made elsewhere, under the contract of `policy.host`: the vendors' parameter names, our batches."""
