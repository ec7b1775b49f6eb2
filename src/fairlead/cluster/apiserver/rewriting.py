"""Links in proxied answers: URLs of the application become URLs under the proxy's own path.

Comes in: a `Location` header or an HTML document in pieces. Goes out: the same with the links changed and every other
character as it was. Refuses to know HTTP. Rules and the table of attributes: apimachinery/pkg/util/proxy/transport.go.
"""

import html
import posixpath
import re
import zlib
from html.parser import HTMLParser
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

_LINKS: dict[str, frozenset[str]] = {
    tag: frozenset(attributes.split())
    for tag, attributes in {
        "a": "href",
        "applet": "codebase",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "src usemap formaction",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}
_ATTRIBUTE = re.compile(r"""([^\s"'>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s>"']+)""")


class ProxiedUrls(Struct, frozen=True):
    """How URLs of one proxied application change.

    `prefix` is the proxy's path, without a slash at its end; `hosts` are the authorities that mean the application
    itself: the one dialled and the one the client named.
    """

    prefix: str
    hosts: frozenset[str]

    def rewrite(self, text: str) -> str:
        """Return `text` under the prefix if it is an absolute path or names one of the hosts; else as it is."""
        try:
            url = urlsplit(text)
        except ValueError:
            return text
        if (url.netloc and url.netloc not in self.hosts) or not url.path.startswith("/"):
            return text
        path = url.path
        if not path.startswith(self.prefix):
            path = self.prefix + posixpath.normpath("/" + path.lstrip("/"))
            if url.path.endswith("/") and not path.endswith("/"):
                path += "/"
        return urlunsplit(("", "", path, url.query, url.fragment))


class HtmlLinks(HTMLParser):
    """Rewrites an HTML document as it streams by. Feed it text decoded byte for byte, as Latin-1."""

    def __init__(self, urls: ProxiedUrls) -> None:
        super().__init__(convert_charrefs=False)
        self._urls = urls
        self._text = ""  # received and not yet given back, from absolute position _base
        self._base = 0
        self._lines = [0]  # the absolute position of the start of each line
        self._edits: list[tuple[int, int, str]] = []
        self._lost = False  # met what the parser cannot read: from there on all passes as it is

    def pass_through(self, data: str, *, last: bool = False) -> str:
        """Take a piece and return what is settled so far; with `last`, all the rest."""
        end = self._base + len(self._text)
        self._lines.extend(end + match.end() for match in re.finditer("\n", data))
        self._text += data
        if not self._lost:
            self._parse(data, last=last)
        settled = len(self._text) if last or self._lost else self._parsed() - self._base
        out, at = list[str](), 0
        for start, stop, replacement in self._edits:
            out += [self._text[at : start - self._base], replacement]
            at = stop - self._base
        out.append(self._text[at:settled])
        self._edits = []
        self._base += settled
        self._text = self._text[settled:]
        return "".join(out)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link in the tag is and what replaces it."""
        wanted = _LINKS.get(tag)
        raw = self.get_starttag_text()
        if not wanted or raw is None or not any(name in wanted for name, _ in attrs):
            return
        start = self._parsed()
        changed = _ATTRIBUTE.sub(lambda match: self._replaced(match, wanted), raw)
        if changed != raw:
            self._edits.append((start, start + len(raw), changed))

    def _parse(self, data: str, *, last: bool) -> None:
        try:
            self.feed(data)
            if last:
                self.close()
        except AssertionError:  # how some versions of the parser refuse `<![` and a word that is none
            self._lost = True

    def _parsed(self) -> int:
        """The absolute position up to which the parser has dealt with the document; it may hold back more than tags."""
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As a start tag."""
        self.handle_starttag(tag, attrs)

    def _replaced(self, match: re.Match[str], wanted: frozenset[str]) -> str:
        name, equals, value = match.groups()
        if name.lower() not in wanted:
            return match.group()
        link = html.unescape(value[1:-1] if value[0] in "\"'" else value)
        rewritten = self._urls.rewrite(link)
        return match.group() if rewritten == link else f'{name}{equals}"{html.escape(rewritten)}"'


class Inflating:
    """Undoes `Content-Encoding`: gzip, or deflate with or without the zlib header that RFC 9110 asks for."""

    def __init__(self, encoding: str) -> None:
        self._object = zlib.decompressobj(47) if encoding == "gzip" else None

    def feed(self, data: bytes) -> bytes:
        """Return what the next piece stands for. Raises zlib.error for anything else than the encoding."""
        if self._object is None:
            if not data:
                return b""
            self._object = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
        return self._object.decompress(data)
