"""Writes a tree of directives as text that NGINX reads back as the same tree.

Source of the quoting: ngx_conf_read_token in src/core/ngx_conf_file.c. In double quotes a backslash keeps its meaning
only before quotes, a backslash, `t`, `r` and `n`; every backslash is doubled, so that none has any. NGINX knows no
escape for a dollar; a variable that holds one stands for it.
"""

from collections.abc import Iterator
from typing import assert_never

from fairlead.nginx.contexts import check_context
from fairlead.nginx.tree import (
    Argument,
    Condition,
    Config,
    Directive,
    Dollar,
    Entry,
    Literal,
    Lua,
    Raw,
    Template,
    Word,
    Written,
)

DOLLAR = "fairlead_dollar"
"""The variable that holds a dollar; `dollar_map` defines it."""


def write_config(config: Config) -> str:
    """The text of a whole configuration. Raises ValueError for a directive that may not stand where it does."""
    return "\n".join(_lines(config, "main", "")) + "\n"


def write_lines(config: Config, context: str, depth: int) -> Written:
    """Directives of a block of kind `context`, indented by `depth` blocks, to be put into a configuration as such."""
    return Written("\n".join(_lines(config, context, "    " * depth)))


def write_argument(argument: Argument) -> str:
    """One argument, quoted unless it is a plain word."""
    match argument:
        case Word(text):
            return text
        case Literal(text):
            return f'"{_escaped(text)}"'
        case Template((Dollar(name),)):
            return f"${name}"  # also where NGINX wants the variable itself: set, map, geo
        case Template(parts):
            return f'"{"".join(_part(part) for part in parts)}"'
        case Condition(name):
            return f"(${name})"
        case _:
            assert_never(argument)


def _part(part: str | Dollar) -> str:
    if isinstance(part, Dollar):
        return f"${part.name}" if part.name.isdigit() else f"${{{part.name}}}"
    return _escaped(part).replace("$", f"${{{DOLLAR}}}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _lines(config: Config, context: str, indent: str) -> Iterator[str]:
    for each in config:
        if isinstance(each, Written):
            yield each.text
            continue
        if isinstance(each, Raw | Lua):
            yield from (f"{indent}{line}" for line in each.text.splitlines())
            continue
        if isinstance(each, Entry):
            yield f"{indent}{' '.join(write_argument(argument) for argument in each.arguments)};"
            continue
        check_context(each.name, context)
        head = f"{indent}{_head(each)}"
        if each.block is None:
            yield f"{head};"
        else:
            yield f"{head} {{"
            yield from _lines(each.block, _inner(each, context), indent + "    ")
            yield f"{indent}}}"


def _head(each: Directive) -> str:
    return " ".join((each.name, *(write_argument(argument) for argument in each.arguments)))


def _inner(each: Directive, context: str) -> str:
    """The context inside a block."""
    return f"stream-{each.name}" if context == "stream" and each.name in ("server", "upstream", "map") else each.name
