"""Fairlead: the whole Kubernetes traffic path in one package."""

__version__ = "0.1.0"
