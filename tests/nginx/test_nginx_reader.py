"""Configuration text as NGINX reads it."""

import pytest

from fairlead.nginx.reader import ConfigSyntaxError, Read, read_config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b;", ("a", "b")),
        ("a\n  b # c;\n c;", ("a", "b", "c")),
        ('a "b c" \'d"e\';', ("a", "b c", 'd"e')),
        ('a "\\"\\\\\\t\\$";', ("a", '"\\\t\\$')),
        ("a ${b}c;", ("a", "${b}c")),
        ("a b#c;", ("a", "b#c")),
        ("a b\\;c;", ("a", "b\\;c")),
        ("a b}c;", ("a", "b}c")),
    ],
)
def test_words_are_read_with_quotes_and_escapes_undone(text: str, words: tuple[str, ...]) -> None:
    assert read_config(text) == (Read(words),)


def test_blocks_hold_directives_and_lua_is_left_alone() -> None:
    text = 'a { b c; d "e" { } }\nx_by_lua_block { t = { ";" } }'
    assert read_config(text) == (
        Read(("a",), (Read(("b", "c")), Read(("d", "e"), ()))),
        Read(("x_by_lua_block",), code='t = { ";" }'),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a", "line 1: a directive is not finished"),
        ("a {\n b;", "line 2: a block is not closed"),
        ("a;\n}", "line 2: unexpected }"),
        (";", "line 1: unexpected ;"),
        ("{", "line 1: unexpected {"),
        ('a "b', "line 1: a text is not closed"),
        ('a "b"c;', "line 1: unexpected 'c' after a quote"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigSyntaxError, match=problem):
        read_config(text)
