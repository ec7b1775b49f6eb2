"""What a cluster is made of: the processes the supervisor runs, and how each is wired to the others.

Comes in: a launch plan and the API listening socket, inside the fabric's namespace. Goes out: components, each a
name, a log file and a coroutine to run in a process of its own. The one place that knows all of them.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from fairlead.agents.node import HEALTH_PORT, METRICS_PORT, Binding, NodeAgentConfig
from fairlead.agents.node import main as run_node_agent
from fairlead.agents.node.returning import ReturnHost
from fairlead.cluster.apiserver import http
from fairlead.cluster.apiserver.access.bootstrap import LOAD_BALANCER
from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.log import LogRefusedError, SqliteLog
from fairlead.cluster.apiserver.logs import LogConnector
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.pki import Pki
from fairlead.cluster.apiserver.proxying import ProxyConnector
from fairlead.cluster.apiserver.streaming.executing import ExecConnector
from fairlead.cluster.apiserver.streaming.forwarding import PortForwardConnector
from fairlead.cluster.autoscaling import AutoscalerDemand
from fairlead.cluster.controllers.main import main as run_controllers
from fairlead.cluster.demand import LoadBalancerDemand, SpeakerDemand
from fairlead.cluster.dns.app import DNS_IMAGE, dns_app, system_manifests
from fairlead.cluster.kubelet import KubeletConfig
from fairlead.cluster.kubelet import main as run_kubelet
from fairlead.cluster.kubelet.gate import gate_of
from fairlead.cluster.launch import LaunchPlan
from fairlead.cluster.manifests import Manifest, apply_manifests
from fairlead.cluster.metrics.served import SERVED, Metrics
from fairlead.cluster.resuming import begins, doubt_pods
from fairlead.cluster.standins.process import StandinsConfig
from fairlead.cluster.standins.process import main as run_standins
from fairlead.cluster.topology import IPV6_PLAN, NodeNetwork, Topology, TopologySpec
from fairlead.drivers.kubeapi import KubeClient
from fairlead.drivers.netns import enter_for_good
from fairlead.net import Family
from fairlead.render.policy_chains import PolicySettings

API_PORT_INSIDE = 6443
_DENIED_GROUP = 1
"""The nflog group of each node's denied packets; groups belong to a network namespace."""
_ADMIN, _ADMINS = "kubernetes-admin", ("system:masters",)


class Component(Struct, frozen=True, kw_only=True):
    """A process of the cluster; `run` is called in the child."""

    name: str
    log: str
    run: Callable[[], Coroutine[Any, Any, None]]
    ends_in_order: bool = False
    """Whether it is asked to end, and waited for, when the cluster ends."""
    wanted: Path | None = None
    """It is started once this file is there: the supervisor looks when it gets SIGUSR1."""


def components_of(plan: LaunchPlan, listener: socket.socket) -> list[Component]:
    """Build the network and the certificates, and return what is to run. Raises FairleadError with what refused."""
    home = plan.home
    _refuse_damaged(home.database)
    spec = TopologySpec(nodes=plan.nodes, second=IPV6_PLAN if Family.IPV6 in plan.families else None)
    topology = Topology.build(spec)
    pki = Pki(home.pki)
    write_private(
        home.kubeconfig, pki.kubeconfig(f"https://127.0.0.1:{plan.api_port}", _ADMIN, _ADMINS, name=home.name)
    )
    inside = f"https://{spec.fabric_address}:{API_PORT_INSIDE}"
    agents_config = home.pki / "agents.kubeconfig"
    write_private(agents_config, pki.kubeconfig(inside, "system:kube-proxy", ("system:nodes",)))
    kubelet_config = home.pki / "kubelet.kubeconfig"
    write_private(kubelet_config, pki.kubeconfig(inside, "system:node:kubelet", ("system:nodes",)))
    balancer_config = home.pki / "loadbalancer.kubeconfig"
    write_private(balancer_config, pki.kubeconfig(inside, LOAD_BALANCER, ()))
    balancer_wanted = home.sockets / "loadbalancer-wanted"
    speakers_wanted = home.sockets / "speakers-wanted"
    doubted = home.sockets / "doubted"
    for each in (balancer_wanted, speakers_wanted, doubted):
        each.unlink(missing_ok=True)
    fabric_listener = _listen(str(spec.fabric_address), API_PORT_INSIDE)

    def component(
        name: str,
        run: Callable[[], Coroutine[Any, Any, None]],
        *,
        ends_in_order: bool = False,
        wanted: Path | None = None,
    ) -> Component:
        log = str(home.logs / f"{name}.log")
        return Component(name=name, log=log, run=run, ends_in_order=ends_in_order, wanted=wanted)

    standins = home.sockets / "standins"
    kubelet = KubeletConfig(
        kubeconfig=kubelet_config,
        topology=topology,
        images=plan.images,
        state=home.path,
        sockets=home.sockets,
        standins_socket=standins,
    )
    return [
        component(
            "apiserver",
            lambda: _serve_api(plan, pki, [listener, fabric_listener], spec, balancer_wanted, speakers_wanted, doubted),
            ends_in_order=True,
        ),
        component(
            "standins",
            lambda: run_standins(StandinsConfig(socket_path=standins, apps={DNS_IMAGE: dns_app(agents_config)})),
        ),
        component("kubelet", lambda: run_kubelet(kubelet)),
        *(
            component(f"agent-{node.name}", _agent(node, topology, agents_config, home.sockets))
            for node in topology.nodes.values()
        ),
        component("loadbalancer", _load_balancer(topology, balancer_config), wanted=balancer_wanted),
        *(
            component(f"speaker-{node.name}", _speaker(node, balancer_config), wanted=speakers_wanted)
            for node in topology.nodes.values()
        ),
    ]


def _agent(
    node: NodeNetwork, topology: Topology, kubeconfig: Path, sockets: Path
) -> Callable[[], Coroutine[Any, Any, None]]:
    lb = topology.lb
    config = NodeAgentConfig(
        node=node.name,
        kubeconfig=kubeconfig,
        pod_prefixes=node.pod_prefixes,
        service_prefixes=topology.spec.service_prefixes,
        healthz=Binding("", HEALTH_PORT),
        metrics=Binding("127.0.0.1", METRICS_PORT),
        policies=PolicySettings(log_group=_DENIED_GROUP),
        policy_gate=gate_of(sockets, node.name),
        return_through=tuple(ReturnHost(each, topology.hardware_of(lb.address)) for each in lb.addresses),
    )

    async def run() -> None:
        enter_for_good(node.netns)
        await run_node_agent(config)

    return run


def _load_balancer(topology: Topology, kubeconfig: Path) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        from fairlead.cluster.loadbalancer import run_load_balancer  # few clusters need it: no modules before they do

        await run_load_balancer(topology, kubeconfig)

    return run


def _speaker(node: NodeNetwork, kubeconfig: Path) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        from fairlead.agents.loadbalancer.speaker import SpeakerConfig, main  # as for the load balancer

        enter_for_good(node.netns)
        await main(SpeakerConfig(node=node.name, kubeconfig=kubeconfig))

    return run


async def _serve_api(
    plan: LaunchPlan,
    pki: Pki,
    sockets: list[socket.socket],
    spec: TopologySpec,
    balancer_wanted: Path,
    speakers_wanted: Path,
    doubted: Path,
) -> None:
    """The API server and the controllers until SIGTERM, which ends them with every acknowledged write on disk.

    `doubted` is a file that is there once the cluster has begun: a cluster that was away forgets which pods were ready.
    """
    log = SqliteLog(plan.home.database)
    server = ApiServer(log, KINDS, service_ranges=spec.service_prefixes, account_key=pki.account_key())
    await create_first_objects(
        server,
        service_address=str(spec.service_prefix.address + 1),
        api_address=str(spec.fabric_address),
        api_port=API_PORT_INSIDE,
    )
    proxy = ProxyConnector(server.get)
    connectors = {
        ("services", "proxy"): proxy,
        ("pods", "proxy"): proxy,
        ("nodes", "proxy"): proxy,
        ("pods", "log"): LogConnector(server.get, plan.home.sockets / "kubelet"),
        ("pods", "exec"): ExecConnector(server.get, plan.home.sockets / "commands"),
        ("pods", "attach"): ExecConnector(server.get, plan.home.sockets / "commands", command=False),
        ("pods", "portforward"): PortForwardConnector(server.get, plan.home.sockets / "places"),
    }
    server.measure(SERVED, Metrics(server.store, plan.home.sockets / "kubelet", plan.autoscaling.sync_period).answer)
    LoadBalancerDemand(server.store, balancer_wanted)
    SpeakerDemand(server.store, speakers_wanted)
    client = KubeClient(InProcessTransport(server))
    AutoscalerDemand(server.store, client, plan.autoscaling, plan.home.logs)
    if begins(doubted):
        await doubt_pods(client, time.time())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = await http.start(server, sockets, pki.server_context(), connectors)
    controllers = asyncio.create_task(run_controllers(client, root_ca=pki.authority.decode()))
    await apply_manifests(client, [Manifest("built in", each) for each in system_manifests()], lambda _: None)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([controllers, stopped], return_when=asyncio.FIRST_COMPLETED)
    if controllers.done():
        controllers.result()
    controllers.cancel()
    with suppress(asyncio.CancelledError):
        await controllers
    await runner.cleanup()
    await server.settle()
    log.close()


def _refuse_damaged(database: Path) -> None:
    """Open and close a database that is there, so that a damaged one is refused before anything runs on it."""
    if not database.exists():
        return
    try:
        SqliteLog(database).close()
    except LogRefusedError as error:
        raise LogRefusedError(error.message, f"{error.remedy}; or forget it all with `fairlead up --fresh`") from error


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(512)
    listener.setblocking(False)
    return listener


def write_private(path: Path, text: str) -> None:
    """Replace a file by `text`, for its owner's eyes only, in one step."""
    draft = path.with_name(path.name + ".new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
