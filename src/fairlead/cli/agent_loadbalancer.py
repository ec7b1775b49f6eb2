"""`fairlead agent loadbalancer`: addresses for Services, and this machine as the host of an external load balancer."""

import os
from pathlib import Path
from typing import Annotated

import typer


def agent_loadbalancer(
    which: Annotated[str, typer.Argument(metavar="loadbalancer", help="The agent to run.")],
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", help="How to reach the API server; default: KUBECONFIG.")
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", help="Where IPAddressPools and the like are looked for.")
    ] = "metallb-system",
    allocate: Annotated[
        bool, typer.Option(help="Give addresses to Services: let one agent of the cluster do that.")
    ] = True,
    external: Annotated[
        bool, typer.Option(help="Be the host of the provider external: take the addresses, spread connections.")
    ] = True,
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", help="Addresses to give while there is no IPAddressPool: a prefix or FIRST-LAST."),
    ] = None,
    lb_class: Annotated[
        list[str] | None,
        typer.Option("--lb-class", help="Serve Services of this loadBalancerClass, and none without a class."),
    ] = None,
    serve_all: Annotated[
        bool,
        typer.Option("--default/--no-default", help="Serve Services that name no class and no advertisement is for."),
    ] = True,
    answers_return: Annotated[
        bool,
        typer.Option("--answers-return", help="The nodes answer through this host (node agents: --return-through)."),
    ] = False,
    lease: Annotated[
        bool, typer.Option(help="Let one of several agents give addresses, by a Lease in the namespace.")
    ] = True,
    metrics_bind_address: Annotated[
        str, typer.Option(help="Where to answer /metrics and /healthz; empty: nowhere.")
    ] = "127.0.0.1:7472",
) -> None:
    """Give Services of type LoadBalancer addresses, and bring traffic for them to the cluster's nodes."""
    import asyncio

    from fairlead.agents.leases import LeaseName
    from fairlead.agents.loadbalancer.allocation import AllocationSettings
    from fairlead.agents.loadbalancer.external import ExternalSettings
    from fairlead.agents.loadbalancer.program import LoadBalancerConfig, main
    from fairlead.agents.pages import parse_binding
    from fairlead.compile.pools import parse_range
    from fairlead.model.loadbalancers import Provider

    file = kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")
    if not file.is_file():
        raise typer.BadParameter(
            f"{file} does not exist; name a kubeconfig with --kubeconfig or the variable KUBECONFIG",
            param_hint="--kubeconfig",
        )
    if not allocate and not external:
        raise typer.BadParameter("with --no-allocate and --no-external there is nothing to do", param_hint=which)
    try:
        for each in pool or ():
            parse_range(each)
        metrics = parse_binding(metrics_bind_address)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    config = LoadBalancerConfig(
        kubeconfig=file,
        namespace=namespace,
        allocation=AllocationSettings(classes=frozenset(lb_class or ()), default_addresses=tuple(pool or ()))
        if allocate
        else None,
        external=ExternalSettings(answers_return=answers_return, default=Provider.EXTERNAL if serve_all else None)
        if external
        else None,
        metrics=metrics,
        lease=LeaseName(namespace, "fairlead-load-balancer") if allocate and lease else None,
    )
    asyncio.run(main(config))
