"""Texts of annotations to typed values: each parser takes the whole text and raises ValueError with what is wrong.

Source of what is allowed: reference of ingress controllers, section 1.1; nothing that could end a quoted string, a line
or a directive gets through any of them, and writers quote all the same.
"""

import re
from urllib.parse import urlsplit

from fairlead.model.route_text import Capture, Text, Variable
from fairlead.net import Prefix, parse_prefix

_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_SIZE = re.compile(r"(?i)(\d{1,15})([bkmg]?)")
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_MOST = 2**53
_URL_TEXT = re.compile(r"[-._~a-zA-Z0-9/:,?&=%+@!*';()#]*")
_BASE = re.compile(r"[-._~a-zA-Z0-9/:]*")
_PATH_TEXT = re.compile(r"/?[-._~a-zA-Z0-9/:$]*")
_HEADERS = re.compile(r"[A-Za-z0-9\-_, ]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]{1,256}")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")

ALLOWED_VARIABLES = frozenset(
    {
        "args", "binary_remote_addr", "body_bytes_sent", "connection", "content_length", "content_type",
        "document_uri", "escaped_request_uri", "host", "http_host", "http_referer", "http_user_agent",
        "http_x_forwarded_for", "http_x_forwarded_proto", "http_x_real_ip", "http_x_request_id", "https",
        "is_args", "query_string", "remote_addr", "remote_port", "remote_user", "request_id", "request_method",
        "request_uri", "scheme", "server_addr", "server_name", "server_port", "server_protocol", "uri",
    }
)  # fmt: skip
"""Variables that an annotation may name: what a client said of its request, nothing of our own or of its secrets."""


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def parse_on(text: str) -> bool:
    """NGINX's on and off."""
    if text not in ("on", "off"):
        raise ValueError(f"{text!r} is neither on nor off")
    return text == "on"


def parse_number(text: str, least: int = 0, most: int = 2**31 - 1) -> int:
    """A whole number in a range."""
    if not re.fullmatch(r"[+-]?\d{1,19}", text) or not least <= int(text) <= most:
        raise ValueError(f"{text!r} is no whole number from {least} to {most}")
    return int(text)


def parse_seconds(text: str) -> int:
    """Seconds, without a unit, at most ten years."""
    return parse_number(text, 0, 315_360_000)


def parse_time(text: str) -> int:
    """Seconds with or without NGINX's units: 90, 30s, 5m, 1h, 1d."""
    found = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d)?", text)
    if found is None:
        raise ValueError(f"{text!r} is no time such as 30s or 5m")
    number = int(found[1])
    return {"ms": max(1, number // 1000), "s": number, "m": 60 * number, "h": 3600 * number, "d": 86400 * number}[
        found[2] or "s"
    ]


def parse_size(text: str) -> int:
    """Bytes, with k, m or g for 1024 and its powers."""
    found = _SIZE.fullmatch(text)
    if found is None or (size := int(found[1]) * _UNITS[found[2].lower()]) > _MOST:
        raise ValueError(f"{text!r} is no size such as 8k or 10m")
    return size


def parse_prefixes(text: str) -> tuple[Prefix, ...]:
    """Addresses and prefixes, separated by commas; one wrong entry makes all wrong."""
    found: list[Prefix] = []
    for part in (each.strip() for each in text.split(",")):
        if part:
            try:
                found.append(parse_prefix(part if "/" in part else f"{part}/{128 if ':' in part else 32}"))
            except ValueError:
                raise ValueError(f"{part!r} is no address and no CIDR block") from None
    if not found:
        raise ValueError("no address is named")
    return tuple(found)


def parse_base(text: str) -> str:
    """Letters, digits and `-._~/:`."""
    return _matching(_BASE, text, "letters, digits and -._~/:")


def parse_words(text: str) -> str:
    """As `parse_base`, with spaces."""
    _matching(_BASE, text.replace(" ", ""), "letters, digits, spaces and -._~/:")
    return text


def parse_header_list(text: str) -> tuple[str, ...]:
    """Names of headers, separated by commas."""
    _matching(_HEADERS, text, "names of headers")
    return tuple(name for each in text.split(",") if (name := each.strip()))


def parse_header_name(text: str) -> str:
    """A token (RFC 9110, 5.6.2)."""
    return _matching(_HEADER_NAME, text, "the characters of a header's name")


def parse_header_value(text: str) -> str:
    """Printable text."""
    if _CONTROL.search(text) or len(text) > 4096:
        raise ValueError("a header's value holds no control characters and at most 4096 characters")
    return text


def parse_path(text: str) -> str:
    """An absolute path without anything special."""
    if not text.startswith("/") or text.startswith("//"):
        raise ValueError(f"{text!r} does not begin with one slash")
    return _matching(_URL_TEXT, text, "the characters of a path")


def parse_url(text: str) -> str:
    """An http or https URL with a host, without variables."""
    _matching(_URL_TEXT, text, "the characters of a URL")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{text!r} is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no URL with http or https and a host")
    return text


def parse_text(text: str, allowed: frozenset[str] = ALLOWED_VARIABLES) -> Text:
    """Text with variables out of `allowed`, none of which is anything but a variable's name."""
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    parts: list[str | Variable | Capture] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        name = found[1] or found[2]
        if name not in allowed:
            raise ValueError(f"the variable ${name} is not allowed here")
        if found.start() > at:
            parts.append(text[at : found.start()])
        parts.append(Variable(name))
        at = found.end()
    if "$" in "".join(part for part in (*(p for p in parts if isinstance(p, str)), text[at:])):
        raise ValueError("a dollar must begin the name of a variable")
    if text[at:]:
        parts.append(text[at:])
    return tuple(parts)


def parse_url_text(text: str) -> Text:
    """A URL that may hold variables after its host."""
    literal = _VARIABLE.sub("", text)
    _matching(_URL_TEXT, literal, "the characters of a URL")
    scheme, separator, rest = text.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme not in ("http", "https") or not separator or not host or "$" in host or ".." in text:
        raise ValueError(f"{text!r} is no URL with http or https and a plain host")
    return parse_text(text)


def parse_target(text: str) -> Text:
    """The target of a rewrite: a path with the groups `$1` to `$9` of the location's expression."""
    _matching(_PATH_TEXT, text, "letters, digits, $1 to $9 and -._~/:")
    parts: list[str | Variable | Capture] = []
    for number, part in enumerate(re.split(r"\$(\d)", text)):
        if number % 2:
            parts.append(Capture(int(part)))
        elif "$" in part:
            raise ValueError("a dollar must be followed by the number of a group")
        elif part:
            parts.append(part)
    return tuple(parts)


def parse_host(text: str) -> str:
    """A DNS name, perhaps with `*.` in front, in lower case."""
    name = text.strip().lower()
    if len(name) > 253 or not _DNS_NAME.fullmatch(name.removeprefix("*.")):
        raise ValueError(f"{text!r} is no host name")
    return name


def parse_word_of(*words: str) -> "_WordOf":
    """A parser for one of a few words, in whatever case."""
    return _WordOf(words)


class _WordOf:
    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = {word.lower(): word for word in words}

    def __call__(self, text: str) -> str:
        found = self._words.get(text.strip().lower())
        if found is None:
            raise ValueError(f"{text!r} is none of {', '.join(self._words.values())}")
        return found


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} holds more than {what}")
    return text
