"""The CustomResourceDefinitions of MetalLB's kinds, which every embedded cluster begins with.

In: nothing. Out: documents to create where they are missing. They are definitions and no rows of the table of kinds,
so that a user can look at them, and apply others over them. Source: the metallb.io definitions of MetalLB 0.16
(config/crd/bases), without their rules in CEL, which this server does not carry out.
"""

from collections.abc import Iterator

from fairlead.kube.documents import Document, Json

GROUP = "metallb.io"

_TEXT: Document = {"type": "string"}
_FLAG: Document = {"type": "boolean"}
_TEXTS: Document = {"type": "array", "items": _TEXT}
_EMPTY: Document = {"type": "object"}


def _number(first: int | None = None, last: int | None = None, default: int | None = None) -> Document:
    schema: Document = {"type": "integer", "format": "int64"}
    given = (("minimum", first), ("maximum", last), ("default", default))
    schema.update({name: value for name, value in given if value is not None})
    return schema


Fields = dict[str, Document]


def _object(properties: Fields, required: tuple[str, ...] = ()) -> Document:
    schema: Document = {"type": "object", "properties": {**properties}}
    if required:
        schema["required"] = [*required]
    return schema


def _items(item: Document) -> Document:
    return {"type": "array", "items": item}


def _flag(default: bool) -> Document:
    return {"type": "boolean", "default": default}


def _choice(*options: str) -> Document:
    return {"type": "string", "enum": [*options]}


_LABELS = _object(
    {
        "matchLabels": {"type": "object", "additionalProperties": _TEXT},
        "matchExpressions": _items(
            _object({"key": _TEXT, "operator": _TEXT, "values": _TEXTS}, required=("key", "operator"))
        ),
    }
)
_SELECTORS = _items(_LABELS)
_COUNTS = ("assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6")
_ASN = _number(0, 4294967295)
_INTERVAL = _number(10, 60000)
_PORT = 16384
_SERVICE: Fields = {"serviceName": _TEXT, "serviceNamespace": _TEXT, "node": _TEXT}

_POOL = _object(
    {
        "addresses": _TEXTS,
        "autoAssign": _flag(True),
        "avoidBuggyIPs": _flag(False),
        "serviceAllocation": _object(
            {
                "priority": _number(),
                "namespaces": _TEXTS,
                "namespaceSelectors": _SELECTORS,
                "serviceSelectors": _SELECTORS,
            }
        ),
    },
    required=("addresses",),
)
_SELECTING: Fields = {
    "ipAddressPools": _TEXTS,
    "ipAddressPoolSelectors": _SELECTORS,
    "nodeSelectors": _SELECTORS,
    "serviceSelectors": _SELECTORS,
}
_PREFERRED = _object({"weight": _number(1, 100), "preference": _LABELS}, required=("weight", "preference"))
_L2_ADVERTISEMENT = _object(_SELECTING | {"interfaces": _TEXTS, "preferredNodeSelectors": _items(_PREFERRED)})
_BGP_ADVERTISEMENT = _object(
    _SELECTING
    | {
        "peers": _TEXTS,
        "communities": _TEXTS,
        "localPref": _number(),
        "aggregationLength": _number(1, default=32),
        "aggregationLengthV6": _number(default=128),
    }
)
_PEER_V1BETA1: Fields = {
    "myASN": _ASN,
    "peerASN": _ASN,
    "peerAddress": _TEXT,
    "peerPort": _number(0, _PORT),
    "sourceAddress": _TEXT,
    "routerID": _TEXT,
    "holdTime": _TEXT,
    "keepaliveTime": _TEXT,
    "password": _TEXT,
    "bfdProfile": _TEXT,
    "ebgpMultiHop": _FLAG,
    "nodeSelectors": _SELECTORS,
}
_PEER_V1BETA2: Fields = _PEER_V1BETA1 | {
    "peerPort": _number(1, _PORT, 179),
    "localASN": _ASN,
    "dynamicASN": _choice("internal", "external"),
    "interface": _TEXT,
    "connectTime": _TEXT,
    "passwordSecret": _object({"name": _TEXT, "namespace": _TEXT}),
    "enableGracefulRestart": _FLAG,
    "vrf": _TEXT,
    "dualStackAddressFamily": _flag(False),
    "disableMP": _flag(False),
}
_BFD_PROFILE = _object(
    {
        "receiveInterval": _INTERVAL,
        "transmitInterval": _INTERVAL,
        "echoInterval": _INTERVAL,
        "detectMultiplier": _number(2, 255),
        "minimumTtl": _number(1, 254),
        "echoMode": _FLAG,
        "passiveMode": _FLAG,
    }
)
_CONDITION = _object(
    {
        "type": _TEXT,
        "status": _choice("True", "False", "Unknown"),
        "reason": _TEXT,
        "message": _TEXT,
        "lastTransitionTime": _TEXT,
        "observedGeneration": _number(0),
    },
    required=("type", "status", "reason", "message", "lastTransitionTime"),
)

_Column = tuple[str, str, str]
"""Its title, its JSON path, and its type."""

_PEER_COLUMNS: tuple[_Column, ...] = (
    ("Address", ".spec.peerAddress", "string"),
    ("ASN", ".spec.peerASN", "string"),
    ("BFD Profile", ".spec.bfdProfile", "string"),
    ("Multi Hops", ".spec.ebgpMultiHop", "string"),
)
_SERVICE_COLUMNS: tuple[_Column, ...] = (
    ("Node", ".status.node", "string"),
    ("Service Name", ".status.serviceName", "string"),
    ("Service Namespace", ".status.serviceNamespace", "string"),
)
_POOL_COLUMNS: tuple[_Column, ...] = (
    ("IPAddressPools", ".spec.ipAddressPools", "string"),
    ("IPAddressPool Selectors", ".spec.ipAddressPoolSelectors", "string"),
)


def first_definitions() -> Iterator[Document]:
    """Yield the definitions, each with its name and spec."""
    yield _definition(
        "IPAddressPool",
        "ipaddresspools",
        _version(
            "v1beta1",
            _POOL,
            _object({name: _number() for name in _COUNTS}),
            (
                ("Auto Assign", ".spec.autoAssign", "boolean"),
                ("Avoid Buggy IPs", ".spec.avoidBuggyIPs", "boolean"),
                ("Addresses", ".spec.addresses", "string"),
            ),
            required=("spec",),
        ),
    )
    yield _definition(
        "L2Advertisement",
        "l2advertisements",
        _version("v1beta1", _L2_ADVERTISEMENT, _EMPTY, (*_POOL_COLUMNS, ("Interfaces", ".spec.interfaces", "string"))),
    )
    yield _definition(
        "BGPAdvertisement",
        "bgpadvertisements",
        _version("v1beta1", _BGP_ADVERTISEMENT, _EMPTY, (*_POOL_COLUMNS, ("Peers", ".spec.peers", "string"))),
    )
    old = _version(
        "v1beta1", _object(_PEER_V1BETA1, ("myASN", "peerASN", "peerAddress")), _EMPTY, _PEER_COLUMNS, stored=False
    )
    old |= {"deprecated": True, "deprecationWarning": "v1beta1 is deprecated, please use v1beta2"}
    yield _definition(
        "BGPPeer", "bgppeers", old, _version("v1beta2", _object(_PEER_V1BETA2, ("myASN",)), _EMPTY, _PEER_COLUMNS)
    )
    yield _definition(
        "BFDProfile",
        "bfdprofiles",
        _version(
            "v1beta1",
            _BFD_PROFILE,
            _EMPTY,
            (
                ("Passive Mode", ".spec.passiveMode", "boolean"),
                ("Transmit Interval", ".spec.transmitInterval", "integer"),
                ("Receive Interval", ".spec.receiveInterval", "integer"),
                ("Multiplier", ".spec.detectMultiplier", "integer"),
            ),
        ),
    )
    aliases = _items(_object({"name": _TEXT, "value": _TEXT}))
    yield _definition("Community", "communities", _version("v1beta1", _object({"communities": aliases}), _EMPTY))
    interfaces = _items(_object({"name": _TEXT}))
    yield _definition(
        "ServiceL2Status",
        "servicel2statuses",
        _version("v1beta1", _EMPTY, _object(_SERVICE | {"interfaces": interfaces}), _SERVICE_COLUMNS),
    )
    yield _definition(
        "ServiceBGPStatus",
        "servicebgpstatuses",
        _version("v1beta1", _EMPTY, _object(_SERVICE | {"peers": _TEXTS}), _SERVICE_COLUMNS),
    )
    yield _definition(
        "ConfigurationState",
        "configurationstates",
        _version(
            "v1beta1",
            _object({"type": _choice("Controller", "Speaker"), "nodeName": _TEXT}, required=("type",)),
            _object({"validConfig": _FLAG, "lastError": _TEXT, "conditions": _items(_CONDITION)}),
            (
                ("Type", ".spec.type", "string"),
                ("Node", ".spec.nodeName", "string"),
                ("Valid", ".status.validConfig", "boolean"),
                ("LastError", ".status.lastError", "string"),
                ("Age", ".metadata.creationTimestamp", "date"),
            ),
        ),
    )


def _version(
    name: str,
    spec: Document,
    status: Document,
    columns: tuple[_Column, ...] = (),
    *,
    stored: bool = True,
    required: tuple[str, ...] = (),
) -> Document:
    shown: list[Json] = [{"name": title, "jsonPath": path, "type": kind} for title, path, kind in columns]
    version: Document = {
        "name": name,
        "served": True,
        "storage": stored,
        "schema": {
            "openAPIV3Schema": _object(
                {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _EMPTY, "spec": spec, "status": status}, required
            )
        },
        "subresources": {"status": {}},
    }
    if shown:
        version["additionalPrinterColumns"] = shown
    return version


def _definition(kind: str, plural: str, *versions: Document) -> Document:
    names: Document = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [*versions]},
    }
