"""HTTP requests of `fairlead trace`: read from the command line, and sent for real by curl from where they start."""

import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from fairlead.drivers.errors import FairleadError

if TYPE_CHECKING:
    from fairlead.sim.answers import Sent, Trace
    from fairlead.sim.ingress_trace import Url

_PATIENCE = "5"


def asked_url(target: str, host: str, path: str) -> "Url | None":
    """The URL of a request to a named host; None where the target is none."""
    from urllib.parse import urlsplit

    from fairlead.sim.ingress_trace import parse_url

    if "://" not in target:
        return None
    parts = urlsplit(target)
    named = f"{host}:{parts.port}" if host and parts.port else host or parts.netloc
    return parse_url(parts._replace(netloc=named, path=path or parts.path).geturl())


def read_headers(given: Sequence[str] | None) -> dict[str, str]:
    """Headers as `Name: value`."""
    found: dict[str, str] = {}
    for each in given or ():
        name, colon, value = each.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter(f"{each!r} is no header; write Name: value", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def send_request(answer: "Trace", url: "Url", method: str, headers: Sequence[str], name: str) -> "Sent":
    """Send the request from where the trace begins, and compare its status and redirect."""
    from fairlead.sim.answers import Sent

    verdict = answer.request
    assert verdict is not None
    address, _, port = answer.packet.rpartition(" ")[2].rpartition(":")
    written = f"{url.scheme}://{url.host}:{url.port}{url.target}"
    words = ["curl", "-sk", "--path-as-is", "-m", _PATIENCE, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}"]
    words += ["--resolve", f"{url.host}:{port}:{address}", "-X", method, *(f"-H{each}" for each in headers), written]
    inside = [sys.executable, "-m", "fairlead", "exec", "--name", name, "--from", answer.source, "--", *words]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    status, _, redirect = done.stdout.strip().partition(" ")
    if not status.isdigit():
        raise FairleadError(f"cannot send a request from {answer.source}: {done.stderr.strip()}")
    agrees = int(status) == verdict.status if verdict.status else int(status) not in (0, 502, 503, 504)
    if verdict.redirect:
        agrees = agrees and redirect.replace(f":{url.port}", "") == verdict.redirect.replace(f":{url.port}", "")
    return Sent(f"status {int(status)}" + (f", Location: {redirect}" if redirect else ""), agrees)
