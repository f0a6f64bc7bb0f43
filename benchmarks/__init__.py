"""Benchmarks of the product against what a reader would otherwise write; run by `make bench`."""
