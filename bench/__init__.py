"""Benchmarks: each prints one small table with its ideal or a peer beside it, and asserts nothing."""
