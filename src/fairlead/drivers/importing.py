"""Imports at start-up: a block of import statements comes in, the same modules come out sooner.

Refuses to know which modules. Importing makes many objects that stay and hardly any garbage, so collections meanwhile
are for nothing; and `aiohttp` reads the system's certificate authorities into a default context (some 40 ms) that we
never use, because every connection of ours is given its own.
"""

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager

_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL: SSL_CTX_set_default_verify_paths(3)


@contextmanager
def swift_imports() -> Generator[None]:
    """Import heavy modules in the body. Nothing in it may make a TLS context that is to trust the system."""
    kept = {name: os.environ.get(name) for name in _AUTHORITIES}
    collecting = gc.isenabled()
    gc.disable()
    os.environ.update(dict.fromkeys(_AUTHORITIES, os.devnull))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if collecting:
            gc.enable()
