"""Kubernetes objects to model values and findings: pure, one key at a time."""
