"""The load balancer of an embedded cluster: the agent at the host `lb`, whose pool the fabric routes to it."""

from pathlib import Path

from fairlead.agents.loadbalancer.allocation import AllocationSettings
from fairlead.agents.loadbalancer.external import ExternalSettings
from fairlead.agents.loadbalancer.program import LoadBalancerConfig, main
from fairlead.agents.pages import Binding
from fairlead.cluster.topology import Topology
from fairlead.drivers.netns import enter_for_good
from fairlead.model.loadbalancers import Provider

METRICS_PORT = 7472
"""That of MetalLB."""


async def run_load_balancer(topology: Topology, kubeconfig: Path) -> None:
    """Give addresses and spread connections until told to end."""
    enter_for_good(topology.lb.netns)
    await main(
        LoadBalancerConfig(
            kubeconfig=kubeconfig,
            allocation=AllocationSettings(default_addresses=tuple(str(plan.lb_pool) for plan in topology.spec.plans)),
            external=ExternalSettings(default=Provider.EXTERNAL),
            metrics=Binding("127.0.0.1", METRICS_PORT),
            host="lb",
        )
    )
