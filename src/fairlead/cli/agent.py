"""`fairlead agent`: the agents alone, against any Kubernetes API server."""

import os
from pathlib import Path
from typing import Annotated

import typer

AGENTS = ("node",)


def agent(
    which: Annotated[str, typer.Argument(metavar="AGENT[,AGENT...]", help="Which agents to run: node.")],
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", help="How to reach the API server; default: KUBECONFIG.")
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", help="The Node object this machine is; default: NODE_NAME or its host name.")
    ] = None,
    pod_cidr: Annotated[
        list[str] | None,
        typer.Option("--pod-cidr", help="Addresses of this node's pods; default: the Node object's podCIDRs."),
    ] = None,
    service_cidr: Annotated[str, typer.Option("--service-cidr", help="Where ClusterIPs come from.")] = "10.96.0.0/16",
) -> None:
    """Run agents in the foreground: `node` programs Services into this machine's nftables."""
    import asyncio
    import socket

    from fairlead.agents.node import NodeAgentConfig, main
    from fairlead.net import parse_prefix

    names = which.split(",")
    for name in names:
        if name not in AGENTS:
            raise typer.BadParameter(f"{name!r} is no agent; the agents are: {', '.join(AGENTS)}")
    file = kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    if not file.is_file():
        raise typer.BadParameter(f"{file} does not exist", param_hint="--kubeconfig")
    config = NodeAgentConfig(
        node=node or os.environ.get("NODE_NAME") or socket.gethostname(),
        kubeconfig=file,
        pod_prefixes=tuple(parse_prefix(text) for text in pod_cidr or ()),
        service_prefixes=(parse_prefix(service_cidr),),
    )
    asyncio.run(main(config))
