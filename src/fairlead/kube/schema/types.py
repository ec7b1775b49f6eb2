"""The types of the served kinds, field by field.

In: `types.json.gz`, which `tools/generate_schema.py` writes. Out: `schema_type(name)`, a `SchemaType` by the name
upstream's OpenAPI documents give it, such as io.k8s.api.core.v1.Pod. It knows no rule of any kind beyond names, types
and merge keys. The file is read once, when the first type is asked for.
"""

import pkgutil
import zlib
from functools import cache
from typing import Literal

import msgspec
from msgspec import Struct

Shape = Literal["", "list", "map"]
"""Whether a field holds one value of its type, a list of them, or a map from texts to them."""


class Field(Struct, frozen=True, array_like=True):
    """One field: the type of its values, and how lists of it are merged.

    A type is the name of a `SchemaType`, or string, boolean, int32, int64, number, bytes, time, microtime, quantity,
    int-or-string, any; or strings, a list of texts inside a map.

    `strategy` and `merge_key` are for strategic merge patches (tags patchStrategy and patchMergeKey of k8s.io/api),
    `list_type` and `list_keys` for server-side apply (listType and listMapKey); the two disagree on purpose, see
    Service.spec.ports. For a map, a `list_type` of "atomic" means that it is owned as a whole.
    """

    type: str
    shape: Shape = ""
    required: bool = False
    text: str = ""
    strategy: str = ""
    merge_key: str = ""
    list_type: str = ""
    list_keys: str = ""

    @property
    def merges(self) -> bool:
        """Whether a strategic patch adds to this list in place of replacing it."""
        return "merge" in self.strategy


class SchemaType(Struct, frozen=True):
    """One object type: its fields by their name on the wire; group, version and kind if it is a kind of its own."""

    fields: dict[str, Field]
    text: str = ""
    kind: tuple[str, str, str] | None = None
    atomic: bool = False


@cache
def schema_types() -> dict[str, SchemaType]:
    """Return all types by name."""
    packed = pkgutil.get_data(__name__, "types.json.gz")
    assert packed is not None, "the package lacks kube/schema/types.json.gz"
    return msgspec.json.decode(zlib.decompress(packed, wbits=31), type=dict[str, SchemaType])


def schema_type(name: str) -> SchemaType | None:
    """Return the type of that name, or None for a plain type and for a name nobody has."""
    return schema_types().get(name)
