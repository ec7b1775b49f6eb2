"""`fairlead agent`: the agents alone, against any Kubernetes API server."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fairlead.agents.node import Binding
    from fairlead.agents.node.returning import ReturnHost
    from fairlead.net import Prefix

AGENTS = ("node",)


def agent(
    which: Annotated[str, typer.Argument(metavar="AGENT[,AGENT...]", help="Which agents to run: node.")],
    kubeconfig: Annotated[
        Path | None,
        typer.Option("--kubeconfig", help="How to reach the API server; default: KUBECONFIG."),
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(
            "--node-name", "--node", help="The Node object this machine is; default: NODE_NAME or its host name."
        ),
    ] = None,
    pod_cidr: Annotated[
        list[str] | None,
        typer.Option("--pod-cidr", help="Addresses of this node's pods; default: the Node object's podCIDRs."),
    ] = None,
    cluster_cidr: Annotated[
        str,
        typer.Option("--cluster-cidr", help="Addresses of all pods, a,b for two families; in place of --pod-cidr."),
    ] = "",
    service_cidr: Annotated[
        str, typer.Option("--service-cidr", help="Where ClusterIPs come from, a,b for two families.")
    ] = "10.96.0.0/16",
    masquerade_all: Annotated[
        bool, typer.Option("--masquerade-all", help="Masquerade every client of a ClusterIP, local pods too.")
    ] = False,
    nodeport_addresses: Annotated[
        str,
        typer.Option(help="Where node ports open: primary, or prefixes a,b that hold addresses of this machine."),
    ] = "primary",
    healthz_bind_address: Annotated[
        str, typer.Option(help="Where to answer /healthz and /livez; empty: nowhere.")
    ] = ":10256",
    metrics_bind_address: Annotated[
        str, typer.Option(help="Where to answer /metrics, /proxyMode and /configz; empty: nowhere.")
    ] = "127.0.0.1:10249",
    policies: Annotated[bool, typer.Option(help="Enforce network policies; without, the network plugin does.")] = True,
    keep_established: Annotated[
        bool, typer.Option("--keep-established", help="Let connections live on that a new policy would forbid.")
    ] = False,
    log_denied: Annotated[
        int | None,
        typer.Option(help="Count and log denied packets, by the nflog group of this number.", show_default=False),
    ] = None,
    host_settings: Annotated[
        bool, typer.Option(help="Make the settings of connection tracking that kube-proxy makes.")
    ] = True,
    return_through: Annotated[
        list[str] | None,
        typer.Option(help="A load-balancer host that answers go back through: ADDRESS=HARDWARE-ADDRESS."),
    ] = None,
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Remove what an agent left in this machine's nftables, and end.")
    ] = False,
) -> None:
    """Run agents in the foreground: `node` programs Services and network policies into this machine's nftables.

    `ingress` serves Ingresses by an NGINX, `loadbalancer` gives addresses and brings traffic in. Each is a process of
    its own: `fairlead agent ingress --help` and `fairlead agent loadbalancer --help` list their options.
    """
    import asyncio
    import socket

    names = which.split(",")
    for name in names:
        if name not in AGENTS:
            known = f"{', '.join(AGENTS)}, and as commands of their own ingress and loadbalancer"
            raise typer.BadParameter(f"{name!r} is no agent; the agents are: {known}")
    if cleanup:
        from fairlead.agents.node.cleanup import remove_tables

        removed = remove_tables()
        typer.echo(f"removed {', '.join(removed)}" if removed else "there was nothing to remove")
        return

    from fairlead.agents.node import NodeAgentConfig, main
    from fairlead.render.policy_chains import Established, PolicySettings

    config = NodeAgentConfig(
        node=node or os.environ.get("NODE_NAME") or socket.gethostname().lower(),
        kubeconfig=_kubeconfig(kubeconfig),
        pod_prefixes=_prefixes(cluster_cidr, "--cluster-cidr") or _prefixes(",".join(pod_cidr or ()), "--pod-cidr"),
        service_prefixes=_prefixes(service_cidr, "--service-cidr"),
        masquerade_all=masquerade_all,
        node_port_prefixes=()
        if nodeport_addresses == "primary"
        else _prefixes(nodeport_addresses, "--nodeport-addresses"),
        healthz=_binding(healthz_bind_address, "--healthz-bind-address"),
        metrics=_binding(metrics_bind_address, "--metrics-bind-address"),
        policies=PolicySettings(Established.KEEP if keep_established else Established.CUT, log_denied)
        if policies
        else None,
        host_settings=host_settings,
        return_through=_return_hosts(return_through or []),
    )
    asyncio.run(main(config))


def _return_hosts(texts: list[str]) -> "tuple[ReturnHost, ...]":
    from fairlead.agents.node.returning import parse_return_host

    try:
        return tuple(map(parse_return_host, texts))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--return-through") from None


def _kubeconfig(named: Path | None) -> Path:
    file = named or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    if not file.is_file():
        raise typer.BadParameter(
            f"{file} does not exist; name a kubeconfig with --kubeconfig or the variable KUBECONFIG",
            param_hint="--kubeconfig",
        )
    return file


def _prefixes(text: str, option: str) -> "tuple[Prefix, ...]":
    from fairlead.net import parse_prefix

    try:
        prefixes = tuple(parse_prefix(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise typer.BadParameter(
            f"{error}; write 10.96.0.0/16, or 10.96.0.0/16,fd00:96::/112", param_hint=option
        ) from None
    return prefixes


def _binding(text: str, option: str) -> "Binding | None":
    from fairlead.agents.pages import parse_binding

    try:
        return parse_binding(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
