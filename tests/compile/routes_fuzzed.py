"""Coverage-guided fuzzing of annotations, hosts and paths, to be run alone: atheris ends its process by itself.

Comes in: libFuzzer's options. Each input is an annotation with a text, or a host and a path; what NGINX is given must
have none but the directives that a plain Ingress has, and `WOULD_BREAK` in the environment leaves quotes away, to show
that this would be found.
"""

import os
import sys
from importlib import import_module
from typing import Any

atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["fairlead.compile.annotations", "fairlead.nginx.writer"]):
    from ingress_objects_made import an_ingress, routes_with
    from test_compile_routes_properties import DANGEROUS, EVIL, LAYOUT, NAMES, PLAIN, names_of

    from fairlead.nginx import writer
    from fairlead.nginx.reader import read_config
    from fairlead.render.nginx import render_nginx

KINDS = ("Exact", "Prefix", "ImplementationSpecific")
MOST = 80


def text_of(data: Any) -> str:
    """A text of the fuzzer's, or a known attack with one of its texts around it."""
    text = data.ConsumeUnicodeNoSurrogates(MOST)
    if data.ConsumeBool():
        attack = EVIL[data.ConsumeIntInRange(0, len(EVIL) - 1)]
        return text[: MOST // 2] + attack + text[MOST // 2 :]
    return text


def one_input(given: bytes) -> None:
    """Compile, render and read back what the bytes stand for."""
    data = atheris.FuzzedDataProvider(given)
    if data.ConsumeBool():
        name = NAMES[data.ConsumeIntInRange(0, len(NAMES) - 1)]
        ingress = an_ingress("w", "a.example", "/x", annotations={name: text_of(data)})
    else:
        kind = KINDS[data.ConsumeIntInRange(0, len(KINDS) - 1)]
        ingress = an_ingress("w", text_of(data), "/" + text_of(data), kind=kind)
    built = routes_with(ingress).build()
    files = render_nginx(built.routing, built.settings, LAYOUT)
    found = names_of(read_config(files["nginx.conf"]))
    if found & (DANGEROUS - PLAIN):
        raise AssertionError(f"{ingress} becomes {found & (DANGEROUS - PLAIN)}")


if __name__ == "__main__":
    if os.environ.get("WOULD_BREAK"):
        setattr(writer, "_escaped", str)  # noqa: B010 - it is private, and this is a break-in
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
