"""Python's cycle collector, kept out of the way of bulk work.

Making a million objects at once has the collector look at all of them again and again, and they are no garbage.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Generator[None]:
    """Run the body, which must not await, without the collector; it goes on as before afterwards."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def settle_memory() -> None:
    """Take all that lives now for permanent: later collections look at what is made from now on."""
    gc.freeze()
