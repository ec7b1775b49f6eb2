"""Long-running programs that talk to a Kubernetes API server and to nothing else of a cluster."""
