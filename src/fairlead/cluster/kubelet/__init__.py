"""The kubelet: makes pods out of what the API wants, for all nodes of an embedded cluster from one process."""

from fairlead.cluster.kubelet.program import KubeletConfig, main

__all__ = ["KubeletConfig", "main"]
