"""Where a model value came from, so that "why" is a lookup."""

from msgspec import Struct


class Origin(Struct, frozen=True, order=True):
    """The field of the object that decided a value.

    `field` is a path as the API server prints it, such as `spec.ports[0].nodePort`.
    """

    kind: str
    namespace: str
    name: str
    field: str = ""

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where} {self.field}".rstrip()
