"""Reads configuration text as NGINX's own parser does, into directives of bare words.

Comes in: text. Goes out: a tree, or ConfigSyntaxError with the line. Refuses to know directives, contexts and
variables. Source: ngx_conf_read_token in src/core/ngx_conf_file.c. The bodies of Lua blocks are another language: they
are taken as one text up to the brace that closes them.
"""

from msgspec import Struct

_SPACE = " \t\r\n"
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}


class ConfigSyntaxError(ValueError):
    """The text is no configuration; the message begins with the line."""


class Read(Struct, frozen=True):
    """One directive: its words with quotes and escapes undone, and for a block what is in it."""

    words: tuple[str, ...]
    block: "tuple[Read, ...] | None" = None
    code: str | None = None


def read_config(text: str) -> tuple[Read, ...]:
    """The directives of a whole text. Raises ConfigSyntaxError."""
    return _Reader(text).directives(inside=False)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def directives(self, *, inside: bool) -> tuple[Read, ...]:
        found: list[Read] = []
        while True:
            words, end = self._words()
            if end == ";":
                if not words:
                    raise self._error("unexpected ;")
                found.append(Read(words))
            elif end == "{":
                if not words:
                    raise self._error("unexpected {")
                if words[0].endswith("_by_lua_block"):
                    found.append(Read(words, code=self._code()))
                else:
                    found.append(Read(words, self.directives(inside=True)))
            elif words:
                raise self._error("a directive is not finished")
            elif (end == "}") is not inside:
                raise self._error("unexpected }" if end else "a block is not closed")
            else:
                return tuple(found)

    def _words(self) -> tuple[tuple[str, ...], str]:
        """The words before the next `;`, `{`, `}` or end, and which of these it is."""
        words: list[str] = []
        while True:
            self._skip()
            if self._at >= len(self._text):
                return tuple(words), ""
            char = self._text[self._at]
            if char in ";{}" and not (char == "}" and words):
                self._at += 1
                return tuple(words), char
            words.append(self._quoted(char) if char in "\"'" else self._bare())

    def _skip(self) -> None:
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif char in _SPACE:
                self._at += 1
            else:
                return

    def _quoted(self, quote: str) -> str:
        self._at += 1
        found: list[str] = []
        while (char := self._next()) != quote:
            found.append(self._after_backslash() if char == "\\" else char)
        if self._at < len(self._text) and self._text[self._at] not in _SPACE + ";{)":
            raise self._error(f"unexpected {self._text[self._at]!r} after a quote")
        return "".join(found)

    def _bare(self) -> str:
        found: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in _SPACE + ";{" and not (char == "{" and found and found[-1] == "$"):
                break
            self._at += 1
            found.append(self._after_backslash() if char == "\\" else char)
        return "".join(found)

    def _after_backslash(self) -> str:
        char = self._next()
        return _ESCAPED.get(char) or (char if char in "\"'\\" else "\\" + char)

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise self._error("a text is not closed")
        self._at += 1
        return self._text[self._at - 1]

    def _code(self) -> str:
        begin, depth = self._at, 1
        while depth:
            char = self._next()
            depth += {"{": 1, "}": -1}.get(char, 0)
        return self._text[begin : self._at - 1].strip()

    def _error(self, problem: str) -> ConfigSyntaxError:
        line = self._text.count("\n", 0, self._at) + 1
        return ConfigSyntaxError(f"line {line}: {problem}")
