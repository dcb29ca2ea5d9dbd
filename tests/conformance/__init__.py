"""Ours beside the vendors' own code, in an environment of its own: `make conformance`."""
