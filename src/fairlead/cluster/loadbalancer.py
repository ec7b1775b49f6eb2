"""The load balancer of an embedded cluster: the agent at the host `lb`, whose pool the fabric routes to it."""

from pathlib import Path

from fairlead.agents.loadbalancer.allocation import AllocationSettings
from fairlead.agents.loadbalancer.external import ExternalSettings
from fairlead.agents.loadbalancer.program import LoadBalancerConfig, main
from fairlead.agents.pages import Binding
from fairlead.cluster.topology import Topology
from fairlead.drivers.netns import enter_for_good
from fairlead.model.loadbalancers import Provider
from fairlead.net import Prefix

METRICS_PORT = 7472
"""That of MetalLB."""


async def run_load_balancer(topology: Topology, kubeconfig: Path) -> None:
    """Give addresses and spread connections until told to end."""
    enter_for_good(topology.lb.netns)
    await main(
        LoadBalancerConfig(
            kubeconfig=kubeconfig,
            allocation=AllocationSettings(
                default_addresses=tuple(_usable(plan.lb_pool) for plan in topology.spec.plans)
            ),
            external=ExternalSettings(answers_return=True, default=Provider.EXTERNAL),
            metrics=Binding("127.0.0.1", METRICS_PORT),
            host="lb",
        )
    )


def _usable(pool: Prefix) -> str:
    """Neither the first address of a pool, which is that of any router of IPv6 (RFC 4291), nor the last."""
    return f"{pool.address + 1}-{pool.address + (pool.size - 2)}"
