"""What locations need elsewhere: maps and zones at the level of `http`, servers' internal locations, files.

Filled while locations are rendered; the same need twice is one.
"""

from fairlead.nginx import Config, Directive, Dollar, Literal, Template, Word, block, entry
from fairlead.render.nginx_names import Layout, file_of


class Needs:
    """Collects needs. `http` is in order of first need, `files` are by name."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._http: dict[str, Directive] = {}
        self._upstreams: dict[int, None] = {}
        self.files: dict[str, str] = {}

    @property
    def http(self) -> Config:
        """The directives for `http`."""
        return tuple(self._http.values())

    @property
    def keepalives(self) -> tuple[int, ...]:
        """The numbers of idle connections that upstream blocks are to keep."""
        return tuple(self._upstreams)

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

    def upstream(self, keepalive: int) -> str:
        """The upstream block of our balancer that keeps `keepalive` idle connections a worker."""
        self._upstreams[keepalive] = None
        return f"fairlead_{keepalive}"


def default(value: Template | Literal | Word | str) -> Config:
    """The line of a map for everything that no other line says."""
    return (entry("default", value),)
