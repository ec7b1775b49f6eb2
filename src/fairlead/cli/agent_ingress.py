"""`fairlead agent ingress`: the ingress controller and its NGINX, in a pod or beside any API server."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fairlead.agents.ingress.webhook import WebhookSettings


def agent_ingress(
    which: Annotated[str, typer.Argument(metavar="ingress", help="The ingress controller.")],
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", help="How to reach the API server; default: the pod's account.")
    ] = None,
    configmap: Annotated[
        str, typer.Option("--configmap", "--nginx-configmaps", help="Its ConfigMap, as namespace/name.")
    ] = "nginx-ingress/nginx-ingress",
    ingress_class: Annotated[
        str, typer.Option(help="The value of the annotation kubernetes.io/ingress.class that is ours.")
    ] = "nginx",
    controller_class: Annotated[
        list[str] | None,
        typer.Option(
            help="The spec.controller of IngressClasses that are ours; may be repeated. "
            "Default: k8s.io/ingress-nginx and nginx.org/ingress-controller.",
            show_default=False,
        ),
    ] = None,
    watch_ingress_without_class: Annotated[
        bool, typer.Option("--watch-ingress-without-class", help="Serve Ingresses that name no class, too.")
    ] = False,
    watch_namespace: Annotated[str, typer.Option(help="Only Ingresses of this namespace; empty: of all.")] = "",
    annotations_prefix: Annotated[str, typer.Option(help="The prefix of annotations.")] = "nginx.ingress.kubernetes.io",
    default_backend_service: Annotated[
        str, typer.Option(help="The Service for unknown hosts and paths, as namespace/name; without one: 404.")
    ] = "",
    default_ssl_certificate: Annotated[
        str, typer.Option(help="The Secret for names without a certificate, as namespace/name.")
    ] = "",
    tcp_services_configmap: Annotated[str, typer.Option(help="The ConfigMap of TCP ports, as namespace/name.")] = "",
    udp_services_configmap: Annotated[str, typer.Option(help="The ConfigMap of UDP ports, as namespace/name.")] = "",
    publish_service: Annotated[
        str, typer.Option(help="The Service in front, whose addresses become the Ingresses' status.")
    ] = "",
    publish_status_address: Annotated[
        str, typer.Option(help="Addresses for the Ingresses' status, a,b; in place of --publish-service.")
    ] = "",
    update_status: Annotated[bool, typer.Option(help="Write the Ingresses' status.")] = True,
    disable_catch_all: Annotated[
        bool, typer.Option("--disable-catch-all", help="Leave Ingresses with a default backend alone.")
    ] = False,
    election_id: Annotated[str, typer.Option(help="The Lease that replicas agree by.")] = "nginx-ingress-leader",
    health_bind_address: Annotated[
        str, typer.Option(help="Where to answer /healthz, /readyz and /metrics; empty: nowhere.")
    ] = ":10254",
    validating_webhook: Annotated[
        str, typer.Option(help="Where to answer AdmissionReviews, such as :8443; empty: nowhere.")
    ] = "",
    validating_webhook_certificate: Annotated[Path | None, typer.Option(help="The webhook's certificate, PEM.")] = None,
    validating_webhook_key: Annotated[Path | None, typer.Option(help="The key of that certificate, PEM.")] = None,
    validating_webhook_client_ca: Annotated[
        Path | None, typer.Option(help="Whose client certificates may ask: the API server's authority, PEM.")
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="Where NGINX's configuration, certificates and sockets are kept.")
    ] = Path("/run/fairlead-ingress"),
    nginx: Annotated[str, typer.Option(help="The NGINX program.")] = "nginx",
    user: Annotated[str, typer.Option(help="The user NGINX's workers run as; empty: ours.")] = "www-data",
    shutdown_timeout: Annotated[
        float, typer.Option(help="Seconds that NGINX has to finish its requests at the end.")
    ] = 240.0,
) -> None:
    """Serve Ingresses by an NGINX of our own, until SIGTERM.

    NGINX serves on when the controller dies, and the next controller takes it over.
    """
    del which
    from fairlead.agents.ingress.keeper import keep
    from fairlead.agents.pages import parse_binding
    from fairlead.compile.route_options import COMMUNITY_CONTROLLER, F5_CONTROLLER, IngressOptions

    try:
        health = parse_binding(health_bind_address)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--health-bind-address") from None
    options = IngressOptions(
        class_annotation=ingress_class,
        without_class=watch_ingress_without_class,
        namespace=watch_namespace,
        prefix=annotations_prefix,
        default_service=_key(default_backend_service, "--default-backend-service"),
        default_certificate=_key(default_ssl_certificate, "--default-ssl-certificate"),
        tcp_services=_key(tcp_services_configmap, "--tcp-services-configmap"),
        udp_services=_key(udp_services_configmap, "--udp-services-configmap"),
        disable_catch_all=disable_catch_all,
        controllers=frozenset(controller_class or (COMMUNITY_CONTROLLER, F5_CONTROLLER)),
    )
    config_map = _key(configmap, "--configmap")
    if config_map is None:
        raise typer.BadParameter("name the ConfigMap", param_hint="--configmap")
    if kubeconfig is None and (named := os.environ.get("KUBECONFIG")):
        kubeconfig = Path(named)
    published = _key(publish_service, "--publish-service")
    webhook = _webhook(
        validating_webhook, validating_webhook_certificate, validating_webhook_key, validating_webhook_client_ca
    )

    def run() -> None:
        from fairlead.agents.ingress.program import IngressAgentConfig
        from fairlead.agents.ingress.program import run as run_agent

        run_agent(
            IngressAgentConfig(
                kubeconfig=kubeconfig,
                options=options,
                config_map=config_map,
                publish_service=published,
                publish_addresses=tuple(each for each in publish_status_address.split(",") if each),
                update_status=update_status,
                pod=os.environ.get("POD_NAME", ""),
                namespace=os.environ.get("POD_NAMESPACE", "nginx-ingress"),
                folder=folder,
                nginx=nginx,
                user=workers_user(user),
                health=health,
                election=election_id,
                shutdown_seconds=shutdown_timeout,
                webhook=webhook,
            )
        )

    sys.exit(keep(run))


def _webhook(
    binding: str, certificate: Path | None, key: Path | None, client_ca: Path | None
) -> "WebhookSettings | None":
    from fairlead.agents.pages import parse_binding

    try:
        parsed = parse_binding(binding)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--validating-webhook") from None
    if parsed is None:
        return None
    from fairlead.agents.ingress.webhook import WebhookSettings

    if certificate is None or key is None:
        raise typer.BadParameter("name a certificate and its key", param_hint="--validating-webhook-certificate")
    return WebhookSettings(binding=parsed, certificate=certificate, key=key, client_ca=client_ca)


def _key(text: str, option: str) -> tuple[str, str] | None:
    if not text:
        return None
    namespace, slash, name = text.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise typer.BadParameter(f"{text!r} is not namespace/name", param_hint=option)
    return namespace, name


def workers_user(named: str) -> str | None:
    """The user, where we may become another at all: in a user namespace there may be nobody but root.

    Root is named then, as NGINX would become the user it was built for, and end.
    """
    import pwd

    if os.geteuid() != 0:
        return None
    if not named:
        return pwd.getpwuid(0).pw_name
    try:
        wanted = pwd.getpwnam(named).pw_uid
    except KeyError:
        raise typer.BadParameter(f"there is no user {named!r}", param_hint="--user") from None
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(each) for each in line.split())
        if first <= wanted < first + count:
            return named
    return pwd.getpwuid(0).pw_name
