"""The node agent: Services into this machine's nftables."""

from fairlead.agents.node.program import NodeAgentConfig, main
from fairlead.agents.pages import Binding

HEALTH_PORT, METRICS_PORT = 10256, 10249
"""Where kube-proxy answers, and so the agent: health on every address, metrics on loopback."""

__all__ = ["HEALTH_PORT", "METRICS_PORT", "Binding", "NodeAgentConfig", "main"]
