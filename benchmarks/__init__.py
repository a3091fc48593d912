"""Measurements of chopsky-trace beside the alternatives: `python -m benchmarks --help`."""
