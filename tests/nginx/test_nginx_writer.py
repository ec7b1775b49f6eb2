"""What the tree of directives becomes as text, and what it refuses to become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.nginx import (
    Dollar,
    Literal,
    Lua,
    Raw,
    Word,
    block,
    directive,
    entry,
    template,
    variable,
    write_config,
)
from fairlead.nginx.reader import ConfigSyntaxError, Read, read_config
from fairlead.nginx.tree import when
from fairlead.nginx.writer import DOLLAR

CONTROL = "\x00\r\n\x1b\x7f\x85\u2028"
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"))).map(str)
NASTY = st.text(st.sampled_from("\"'\\${}();#/ \tab~^*=")).filter(lambda text: "\t" not in text)
SAID = TEXT | NASTY


def written(*lines: object) -> str:
    return write_config((block("http", of=(block("server", of=lines),)),))  # type: ignore[arg-type]


def read_back(text: str) -> tuple[Read, ...]:
    server = (read_config(text)[0].block or (Read(()),))[0]
    return server.block or ()


def test_a_tree_is_written_with_its_values_quoted() -> None:
    text = written(
        directive("listen", 80),
        directive("server_name", Literal('a"b\\c')),
        block(
            "location",
            "=",
            Literal("/{x};"),
            of=(
                directive("set", variable("fairlead_x"), template("$a ", Dollar("host"), "${b}")),
                when("fairlead_x", directive("return", 302, template("/", Dollar("1"), "2"))),
            ),
        ),
    )
    assert text == (
        "http {\n"
        "    server {\n"
        "        listen 80;\n"
        '        server_name "a\\"b\\\\c";\n'
        '        location = "/{x};" {\n'
        '            set $fairlead_x "${fairlead_dollar}a ${host}${fairlead_dollar}{b}";\n'
        "            if ($fairlead_x) {\n"
        '                return 302 "/$12";\n'
        "            }\n"
        "        }\n"
        "    }\n"
        "}\n"
    )


@given(SAID, SAID)
def test_a_literal_is_read_back_as_it_was_given(first: str, second: str) -> None:
    lines = read_back(written(directive("server_name", Literal(first), Literal(second)), directive("listen", 80)))
    assert lines == (Read(("server_name", first, second)), Read(("listen", "80")))


@given(SAID, SAID)
def test_a_template_holds_no_variables_but_its_own(first: str, second: str) -> None:
    lines = read_back(
        written(directive("return", 302, template(first, Dollar("host"), second)), directive("listen", 1))
    )
    told, listen = lines
    assert listen == Read(("listen", "1"))
    rest = told.words[2]
    assert rest.count("$") == first.count("$") + second.count("$") + 1
    assert rest.replace(f"${{{DOLLAR}}}", "\0").count("$") == 1
    assert rest.replace("${host}", "").replace(f"${{{DOLLAR}}}", "$") == (first + second) or "${host}" in first + second


@given(NASTY)
def test_a_word_is_plain_or_refused(text: str) -> None:
    try:
        word = Word(text)
    except ValueError:
        return
    assert read_back(written(directive("return", word))) == (Read(("return", text)),)


@pytest.mark.parametrize("char", CONTROL)
def test_control_characters_are_refused_wherever_text_goes(char: str) -> None:
    for make in (Literal, Word, template, Dollar):
        with pytest.raises(ValueError, match=r"control character|no plain word|no name"):
            make(f"a{char}b")


@pytest.mark.parametrize("name", ["", "a b", "a}", "$a", "12", "a-b"])
def test_names_of_variables_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a variable"):
        Dollar(name)


def test_a_directive_may_not_stand_where_nginx_refuses_it() -> None:
    with pytest.raises(ValueError, match="proxy_pass may not stand in server"):
        written(directive("proxy_pass", Literal("http://x")))
    with pytest.raises(ValueError, match="load_module may not stand in http"):
        write_config((block("http", of=(directive("load_module", "x"),)),))
    with pytest.raises(ValueError, match="unheard_of may not stand in main"):
        write_config((directive("unheard_of", "x"),))


@pytest.mark.parametrize("snippet", ["} server { listen 80; }", "a b", 'x "', "x {", ";", "x 'a'b;", "#\n}"])
def test_a_snippet_that_would_leave_its_block_is_refused(snippet: str) -> None:
    with pytest.raises(ConfigSyntaxError):
        Raw(snippet)


def test_a_snippet_of_whole_directives_is_written_as_it_is() -> None:
    text = "more_set_headers 'X: }'; # }\nif ($a) { return 403; }\naccess_by_lua_block { if x then y({}) end }"
    assert "\n".join(line.strip() for line in written(Raw(text)).splitlines()[2:-2]) == text


def test_lua_with_braces_that_do_not_match_is_refused() -> None:
    with pytest.raises(ValueError, match="braces"):
        Lua("return {")


def test_maps_hold_keys_that_look_like_anything() -> None:
    config = (
        block(
            "http", of=(block("map", variable("host"), variable("x"), of=(entry(Literal("default;"), Literal("")),)),)
        ),
    )
    (http,) = read_config(write_config(config))
    assert http.block == (Read(("map", "$host", "$x"), (Read(("default;", "")),)),)
