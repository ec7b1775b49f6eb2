"""What NGINX is told without a reload, as the bodies of its control socket.

Comes in: endpoints and certificates. Goes out: JSON as `lua/fairlead_control.lua` reads it.
"""

from collections.abc import Iterable, Mapping

import msgspec

from fairlead.model.route_tls import Certificate, CertificateId
from fairlead.model.route_upstreams import Endpoints, UpstreamKey
from fairlead.render.nginx_names import certificate_id, upstream_id


def render_endpoints(changed: Iterable[Endpoints], dropped: Iterable[UpstreamKey] = (), *, full: bool = False) -> bytes:
    """The body of `POST /endpoints`; `full` forgets every upstream that is not in `changed`."""
    told = {
        upstream_id(each.key): [(_host(str(backend.address)), int(backend.port)) for backend in each.backends]
        for each in changed
    }
    return msgspec.json.encode({"full": full, "set": told, "drop": [upstream_id(key) for key in dropped]})


def render_certificates(
    changed: Iterable[Certificate],
    names: Mapping[str, CertificateId],
    *,
    dropped: Iterable[CertificateId] = (),
    dropped_names: Iterable[str] = (),
    default: CertificateId | None = None,
    full: bool = False,
) -> bytes:
    """The body of `POST /certificates`; `names` are hosts, wildcards as `*.` and a name."""
    return msgspec.json.encode(
        {
            "full": full,
            "set": {certificate_id(each.id): (each.chain, each.key) for each in changed},
            "names": {name: certificate_id(certificate) for name, certificate in names.items()},
            "drop": [certificate_id(each) for each in dropped],
            "drop_names": list(dropped_names),
            "default": None if default is None else certificate_id(default),
        }
    )


def render_staples(answers: Mapping[CertificateId, bytes]) -> bytes:
    """The body of `POST /staples`: what authorities said of certificates (DER); all others have nothing stapled."""
    return msgspec.json.encode({"set": {certificate_id(each): answer for each, answer in answers.items()}})


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
