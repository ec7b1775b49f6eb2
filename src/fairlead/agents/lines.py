"""One canonical line per round of work on standard error: `event=... key=value ...`."""

import sys


def log(**words: object) -> None:
    """Write one line; text with blanks in it is quoted."""
    sys.stderr.write(" ".join(f"{key}={_quoted(value)}" for key, value in words.items()) + "\n")
    sys.stderr.flush()


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
