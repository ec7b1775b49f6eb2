"""What locations need elsewhere: maps and zones at the level of `http`, upstream blocks, files.

Filled while locations are rendered; the same need twice is one.
"""

from fairlead.nginx import Config, Directive, Dollar, Literal, Template, Word, block, entry
from fairlead.render.nginx_names import Layout, file_of


class Needs:
    """Collects needs. `http` is in order of first need, `files` are by name."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._http: dict[str, Directive] = {}
        self._pools: dict[str, int] = {}
        self.files: dict[str, str] = {}

    @property
    def http(self) -> Config:
        """The directives for `http`."""
        return tuple(self._http.values())

    @property
    def pools(self) -> tuple[tuple[str, int], ...]:
        """The upstream blocks of our balancer: names, and the numbers of idle connections that they keep."""
        return tuple(self._pools.items())

    def apart(self) -> "Needs":
        """An empty collection of the same layout, to know what a part of the configuration needs by itself."""
        return Needs(self._layout)

    def take(self, other: "Needs") -> None:
        """Add what another collected."""
        for key, directive in other._http.items():
            self._http.setdefault(key, directive)
        self._pools |= other._pools
        self.files |= other.files

    def file(self, kind: str, text: str) -> str:
        """Have a file with `text`; return its absolute path."""
        name = file_of(kind, text)
        self.files[name] = text
        return self._layout.path(name)

    def folder(self, name: str) -> str:
        """The absolute path of a folder that NGINX makes itself."""
        return self._layout.path(name)

    def at_http(self, key: str, directive: Directive) -> None:
        """Have a directive at the level of `http`, once for each `key`."""
        self._http.setdefault(key, directive)

    def map(self, source: Template, name: str, lines: Config) -> None:
        """Have a map from `source` to variable `name`."""
        self.at_http(f"map {name}", block("map", source, Template((Dollar(name),)), of=lines))

    def pool(self, keepalive: int, kind: str = "") -> str:
        """The upstream block that keeps `keepalive` idle connections a worker.

        `kind` tells what is spoken: NGINX finds idle connections by address alone, so one with TLS or HTTP/2, or that
        was verified in another way, has to be in another block.
        """
        name = f"fairlead_{keepalive}" + (f"_{kind}" if kind else "")
        self._pools[name] = keepalive
        return name


def default(value: Template | Literal | Word | str) -> Config:
    """The line of a map for everything that no other line says."""
    return (entry("default", value),)
