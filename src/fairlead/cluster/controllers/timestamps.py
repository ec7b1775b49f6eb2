"""Times as the API writes them: RFC 3339 text in UTC comes in and goes out, seconds since the epoch are what is
counted in.

Knows no clock; now is always an argument.
"""

from datetime import UTC, datetime


def parse_time(text: str | None) -> float | None:
    """Seconds since the epoch of `2026-11-23T02:03:04Z` or a form with a fraction; None for no text or no time."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def format_time(seconds: float) -> str:
    """Whole seconds in UTC, as metav1.Time is written."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
