"""Text that may hold NGINX variables: never a string in which `$` means something, always parts."""

from msgspec import Struct


class Variable(Struct, frozen=True, tag="variable"):
    """An NGINX variable, named without `$` and braces. Only names that compile knows and allows become one."""

    name: str


class Capture(Struct, frozen=True, tag="capture"):
    """The capture group `number` of the location's own regular expression, from 1."""

    number: int


Text = tuple[str | Variable | Capture, ...]
"""Parts put together. A `str` part is literal, whatever it holds: writers escape quotes, backslashes and dollars."""
