"""The language of NGINX's configuration: directives, where each may stand, and how they are written."""

from fairlead.nginx.tree import (
    Argument,
    Config,
    Directive,
    Dollar,
    Entry,
    Literal,
    Lua,
    Raw,
    Template,
    Word,
    block,
    directive,
    entry,
    template,
    variable,
    when,
)
from fairlead.nginx.writer import write_config

__all__ = [
    "Argument",
    "Config",
    "Directive",
    "Dollar",
    "Entry",
    "Literal",
    "Lua",
    "Raw",
    "Template",
    "Word",
    "block",
    "directive",
    "entry",
    "template",
    "variable",
    "when",
    "write_config",
]
