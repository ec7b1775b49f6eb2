"""A configuration as a tree of directives: names and typed arguments come in, a value that can be written goes out.

Refuses to know what directives do. There is no way to put text into a configuration other than as one of the argument
types below, and each of them says how it is written: what a tenant wrote never becomes syntax. `Raw` is the one
exception, for snippets where the operator turned them on.
"""

import re

from msgspec import Struct

from fairlead.nginx.reader import read_config

_WORD = re.compile(r"[A-Za-z0-9_@/.:,=*~+\-\[\]]+")
_VARIABLE = re.compile(r"[A-Za-z0-9_]+")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


class Word(Struct, frozen=True, tag="word"):
    """A word that needs no quotes: a keyword, number, size or name of our own making."""

    text: str

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.text):
            raise ValueError(f"{self.text!r} is no plain word")


class Literal(Struct, frozen=True, tag="literal"):
    """Text for an argument in which NGINX looks for no variables (regular expressions, names, files): always quoted."""

    text: str

    def __post_init__(self) -> None:
        _refuse_control(self.text)


class Dollar(Struct, frozen=True, tag="dollar"):
    """An NGINX variable inside a template; a digit is a capture of the last regular expression."""

    name: str

    def __post_init__(self) -> None:
        if not _VARIABLE.fullmatch(self.name) or (self.name.isdigit() and len(self.name) > 1):
            raise ValueError(f"{self.name!r} is no name of a variable")


class Template(Struct, frozen=True, tag="template"):
    """Text in which NGINX looks for variables: strings are literal, whatever they hold, dollars included."""

    parts: tuple[str | Dollar, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if isinstance(part, str):
                _refuse_control(part)


class Condition(Struct, frozen=True, tag="condition"):
    """The condition of an `if`: whether a variable is neither empty nor 0."""

    name: str

    def __post_init__(self) -> None:
        if not _VARIABLE.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a variable")


class Raw(Struct, frozen=True, tag="raw"):
    """Configuration that somebody else wrote, as it is: whole directives. Never for what a tenant may not configure."""

    text: str

    def __post_init__(self) -> None:
        read_config(self.text)


class Lua(Struct, frozen=True, tag="lua"):
    """The code of a `_by_lua_block`, always our own."""

    text: str

    def __post_init__(self) -> None:
        if self.text.count("{") != self.text.count("}"):
            raise ValueError("the braces of Lua code do not match")


class Written(Struct, frozen=True, tag="written"):
    """Lines that `write_lines` made before: kept, so that what did not change is not written anew."""

    text: str


Argument = Word | Literal | Template | Condition


class Entry(Struct, frozen=True):
    """A line of a `map` or `geo`: what is compared, and the value for it."""

    arguments: tuple[Argument, ...]


class Directive(Struct, frozen=True):
    """A name, its arguments, and for a block its directives."""

    name: str
    arguments: tuple[Argument, ...] = ()
    block: "tuple[Directive | Entry | Raw | Lua | Written, ...] | None" = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a directive")


Line = Directive | Entry | Raw | Lua | Written
Config = tuple[Line, ...]


def directive(name: str, *arguments: Argument | str | int) -> Directive:
    """A simple directive; a `str` or `int` is a plain word."""
    return Directive(name, tuple(_argument(each) for each in arguments))


def block(name: str, *arguments: Argument | str | int, of: Config) -> Directive:
    """A block directive that holds `of`."""
    return Directive(name, tuple(_argument(each) for each in arguments), of)


def entry(*arguments: Argument | str | int) -> Entry:
    """A line of a `map` or `geo`; a `str` or `int` is a plain word."""
    return Entry(tuple(_argument(each) for each in arguments))


def when(name: str, *then: Directive) -> Directive:
    """`if` the variable is neither empty nor 0."""
    return Directive("if", (Condition(name),), then)


def variable(name: str) -> Template:
    """Nothing but a variable."""
    return Template((Dollar(name),))


def template(*parts: str | Dollar) -> Template:
    """Text with variables in it."""
    return Template(parts)


def _argument(given: Argument | str | int) -> Argument:
    return Word(str(given)) if isinstance(given, str | int) else given


def _refuse_control(text: str) -> None:
    found = _CONTROL.search(text)
    if found is not None:
        raise ValueError(f"{text!r} holds the control character {found.group()!r}, which no configuration may")
