"""What NGINX has to be told at its control socket: two states come in, the difference goes out. Pure."""

from collections.abc import Mapping

from msgspec import Struct

from fairlead.compile.routes import Built
from fairlead.model.route_tls import Certificate, CertificateId
from fairlead.model.route_upstreams import Endpoints, UpstreamKey


class Update(Struct, frozen=True, kw_only=True):
    """Changed and dropped endpoints and certificates; `default` is set when it differs."""

    endpoints: tuple[Endpoints, ...] = ()
    dropped: tuple[UpstreamKey, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    dropped_certificates: tuple[CertificateId, ...] = ()
    names: Mapping[str, CertificateId] = {}
    dropped_names: tuple[str, ...] = ()
    default: CertificateId | None = None

    @property
    def of_endpoints(self) -> bool:
        """Whether endpoints differ."""
        return bool(self.endpoints or self.dropped)

    @property
    def of_certificates(self) -> bool:
        """Whether certificates or their names differ."""
        return bool(
            self.certificates
            or self.dropped_certificates
            or self.names
            or self.dropped_names
            or self.default is not None
        )


def diff_built(old: Built | None, new: Built) -> Update:
    """The update from `old` to `new`; None is an NGINX that knows nothing."""
    endpoints: Mapping[UpstreamKey, Endpoints] = old.endpoints if old is not None else {}
    certificates: Mapping[CertificateId, Certificate] = old.certificates if old is not None else {}
    names: Mapping[str, CertificateId] = old.server_names if old is not None else {}
    default = old.default_certificate if old is not None else None
    return Update(
        endpoints=tuple(each for key, each in new.endpoints.items() if endpoints.get(key) != each),
        dropped=tuple(key for key in endpoints if key not in new.endpoints),
        certificates=tuple(each for key, each in new.certificates.items() if certificates.get(key) != each),
        dropped_certificates=tuple(key for key in certificates if key not in new.certificates),
        names={name: key for name, key in new.server_names.items() if names.get(name) != key},
        dropped_names=tuple(name for name in names if name not in new.server_names),
        default=new.default_certificate if new.default_certificate != default else None,
    )
