"""How the command line speaks: answers as text or JSON on standard output, talk and complaints on standard error."""

import sys
from enum import StrEnum

import msgspec

EXIT_OK = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3


class Output(StrEnum):
    """The forms an answer comes in."""

    TEXT = "text"
    JSON = "json"


def complain(message: str, remedy: str = "") -> None:
    """Say on standard error what is wrong and, on a second line, what to do."""
    print(f"fairlead: {message}", file=sys.stderr)
    if remedy:
        print(f"  {remedy}", file=sys.stderr)


def answer_json(value: object) -> None:
    """Print `value` (structs, lists, scalars) as indented JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


class Progress:
    """Steps of a longer task on standard error: one line that rewrites itself on a terminal, quiet elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown = False

    def step(self, text: str) -> None:
        """Say what is being done now."""
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            self._shown = True

    def done(self) -> None:
        """Clear the line before the answer is printed."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False
