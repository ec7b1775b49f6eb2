"""Measurements against a baseline of the same run: what `./bench` prints."""
