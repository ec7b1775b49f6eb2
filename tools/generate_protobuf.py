"""Write src/fairlead/cluster/apiserver/wire/messages.json.gz: field numbers of the messages of the Kubernetes API.

The facts (number, name on the wire, Go type of every field) are upstream's: staging/src/k8s.io/api/**/generated.proto
and the struct tags of types.go beside it. Each kubectl binary carries those tags as reflection data, which is read
here (Go 1.24's abi.Type, for amd64), so that no source need be at hand.

Usage: python tools/generate_protobuf.py /path/to/kubectl
"""

import gzip
import json
import re
import struct
import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/fairlead/cluster/apiserver/wire/messages.json.gz"
PACKAGES = re.compile(r"k8s\.io/(api/|apimachinery/pkg/(apis/meta/v1$|api/resource$|util/intstr$|runtime$))")
LEFT_OUT = re.compile(r"k8s\.io/api/.*(alpha|beta)[0-9]*$|k8s\.io/api/imagepolicy|k8s\.io/api/admission/")
BOOL, INTS, FLOATS, MAP, POINTER, SLICE, STRING, STRUCT = 1, range(2, 12), (13, 14), 21, 22, 23, 24, 25
NAMED = 4
SPECIAL = {
    "Time": "time",
    "MicroTime": "microtime",
    "Duration": "duration",
    "Quantity": "quantity",
    "IntOrString": "int-or-string",
    "FieldsV1": "raw",
    "RawExtension": "raw",
}


class Binary:
    """The read-only data of a Go program, where its types are described."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        sections = self._sections()
        self.types, self.offset, _ = sections[".rodata"]
        _, links, size = sections[".typelink"]
        self.links = struct.unpack_from(f"<{size // 4}i", self.data, links)

    def _sections(self) -> dict[str, tuple[int, int, int]]:
        start, size, count, names = *struct.unpack_from("<Q", self.data, 40), *struct.unpack_from("<3H", self.data, 58)
        rows = [struct.unpack_from("<IIQQQQ", self.data, start + size * index) for index in range(count)]
        texts = rows[names][4]
        return {
            self.data[texts + row[0] : self.data.index(b"\0", texts + row[0])].decode(): (row[3], row[4], row[5])
            for row in rows
        }

    def word(self, address: int, form: str = "<Q") -> int:
        """Return one number at an address of the program."""
        return struct.unpack_from(form, self.data, address - self.types + self.offset)[0]

    def name(self, address: int) -> tuple[str, str]:
        """Return a name and its tag, as reflection stores them: a flag byte, then texts with their lengths before."""
        texts, at = ["", ""], address - self.types + self.offset + 1
        for index in range(2 if self.data[at - 1] & 2 else 1):
            length = shift = 0
            while True:
                byte = self.data[at]
                at += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            texts[index] = self.data[at : at + length].decode()
            at += length
        return texts[0], texts[1]

    def kind(self, address: int) -> int:
        """Return the reflect.Kind of a type."""
        return self.word(address + 23, "B") & 31

    def is_named(self, address: int) -> bool:
        """Return whether a type has a name of its own."""
        return bool(self.word(address + 20, "B") & NAMED)

    def short(self, address: int) -> str:
        """Return the name of a type without its package."""
        return self.name(self.types + self.word(address + 40, "<i"))[0].rpartition(".")[2]

    def package(self, address: int) -> str:
        """Return the package of a named struct type, from the uncommon type behind it."""
        return self.name(self.types + self.word(address + 80, "<i"))[0]


def full_name(binary: Binary, address: int) -> str:
    """Return the name of a struct type as upstream's OpenAPI documents call it."""
    package = binary.package(address).replace("k8s.io/", "io.k8s.").replace("/", ".")
    return f"{package}.{binary.short(address)}"


def value_of(binary: Binary, address: int) -> str:
    """Return the type of one value in the words of wire/protobuf.py."""
    kind = binary.kind(address)
    if kind == STRUCT:
        return SPECIAL.get(binary.short(address)) or full_name(binary, address)
    if kind == SLICE:
        return "bytes" if binary.kind(binary.word(address + 48)) == 8 else "items"
    if kind in FLOATS:
        return "number"
    return {BOOL: "boolean", STRING: "string"}.get(kind, "int")


def field_row(binary: Binary, address: int, json_tag: str, wire_name: str, repeated: bool) -> list[object]:
    """Return one field as `protobuf.Field` reads it: name, type, shape, what becomes of a zero."""
    name, _, options = json_tag.partition(",")
    kind, shape, pointer = binary.kind(address), "", False
    if kind == POINTER:
        pointer, address = True, binary.word(address + 48)
    elif kind == MAP:
        shape, address = "map", binary.word(address + 56)
    elif kind == SLICE and (repeated or not binary.is_named(address)) and binary.kind(binary.word(address + 48)) != 8:
        shape, address = "list", binary.word(address + 48)
        if binary.kind(address) == POINTER:
            address = binary.word(address + 48)
    if "inline" in options or not name:
        shape, name = "inline", wire_name
    kept = pointer or "omitempty" not in options
    row: list[object] = [name, value_of(binary, address), shape, kept]
    while row and row[-1] in ("", False):
        row.pop()
    return row


def message(binary: Binary, address: int) -> dict[int, list[object]]:
    """Return the fields of one struct by number."""
    first, count = binary.word(address + 56), binary.word(address + 64)
    found: dict[int, list[object]] = {}
    for index in range(count):
        at = first + 24 * index
        name, tag = binary.name(binary.word(at))
        wire = re.search(r'protobuf:"\w+,(\d+),(\w+)(?:,[^"]*?name=(\w+))?', tag)
        if wire:
            text = re.search(r'json:"([^"]*)"', tag)
            found[int(wire[1])] = field_row(
                binary, binary.word(at + 8), text[1] if text else name, wire[3] or name, wire[2] == "rep"
            )
    return found


def main() -> None:
    """Write the file and say how much it holds."""
    binary = Binary(Path(sys.argv[1]))
    found: dict[str, dict[int, list[object]]] = {}
    for link in binary.links:
        pointer = binary.types + link
        if binary.kind(pointer) != POINTER:
            continue
        address = binary.word(pointer + 48)
        if binary.kind(address) != STRUCT or not binary.is_named(address) or not binary.word(address + 20, "B") & 1:
            continue
        package = binary.package(address)
        if not PACKAGES.match(package) or LEFT_OUT.match(package):
            continue
        fields = message(binary, address)
        if fields:
            found[full_name(binary, address)] = fields
    wanted = {str(row[1]) for fields in found.values() for row in fields.values() if "." in str(row[1])}
    assert not (missing := wanted - set(found)), missing
    body = json.dumps(found, separators=(",", ":"), sort_keys=True).encode()
    TARGET.write_bytes(gzip.compress(body, 9, mtime=0))
    count = sum(len(fields) for fields in found.values())
    print(f"{len(found)} messages, {count} fields, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
