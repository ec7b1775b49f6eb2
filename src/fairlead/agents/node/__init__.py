"""The node agent: Services into this machine's nftables."""

from fairlead.agents.node.program import NodeAgentConfig, main

__all__ = ["NodeAgentConfig", "main"]
