"""Paths of the API taken apart.

In: the path of a URL. Out: a `Target`, the resource, object and subresource it names, or None for paths that are no
resource's. It does not know which resources exist. Rules: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go.
"""

from urllib.parse import unquote

from msgspec import Struct

_OF_NAMESPACE = ("status", "finalize")
_TRICKS = frozenset("/\0")
"""What no part of a path holds: escaped, it would name what the path does not show."""


class Target(Struct, frozen=True, kw_only=True):
    """What a path names. Empty texts where the path does not go so far; `rest` follows the subresource, with its
    slash.
    """

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse_path(path: str) -> Target | None:
    """Take apart /api/v1/... and /apis/GROUP/VERSION/...; None for anything shorter or other.

    An empty namespace names nothing: a client whose variable is empty would delete in all of them.
    """
    parts = path.split("/")
    if len(parts) >= 4 and parts[1] == "api":
        group, version, tail = "", parts[2], parts[3:]
    elif len(parts) >= 5 and parts[1] == "apis":
        group, version, tail = parts[2], parts[3], parts[4:]
    else:
        return None
    namespace = ""
    if len(tail) >= 3 and tail[0] == "namespaces" and tail[2] and tail[2] not in _OF_NAMESPACE:
        namespace, tail = unquote(tail[1]), tail[2:]
        if not namespace:
            return None
    plural, name, subresource = (unquote(part) for part in (*tail[:3], "", "")[:3])
    if not plural or any(_TRICKS.intersection(part) for part in (plural, namespace, name, subresource)):
        return None
    return Target(
        group=group,
        version=version,
        plural=plural,
        namespace=namespace,
        name=name,
        subresource=subresource,
        rest="".join(f"/{part}" for part in tail[3:]),
    )
