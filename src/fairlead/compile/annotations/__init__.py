"""Annotations of Ingresses: every one that is known, how its text is read and what it becomes."""
