"""Kubernetes objects as values: typed views, JSON documents, resources, selectors. Knows no HTTP and no kernel."""
