"""Links that lead back through the proxy, and everything else left as it was."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cluster.apiserver.rewriting import HtmlLinks, Inflating, ProxiedUrls

URLS = ProxiedUrls("/api/proxy", frozenset({"10.244.1.2:80", "shop.example"}))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("/", "/api/proxy/"),
        ("/a/b", "/api/proxy/a/b"),
        ("/a/../b/", "/api/proxy/b/"),
        ("/a?x=/y#/z", "/api/proxy/a?x=/y#/z"),
        ("http://10.244.1.2:80/a", "/api/proxy/a"),
        ("https://shop.example/a", "/api/proxy/a"),
        ("//shop.example/a", "/api/proxy/a"),
        ("http://other.example/a", "http://other.example/a"),
        ("//cdn.example/a.js", "//cdn.example/a.js"),
        ("a/b", "a/b"),
        ("../b", "../b"),
        ("?page=2", "?page=2"),
        ("#top", "#top"),
        ("", ""),
        ("mailto:me@shop.example", "mailto:me@shop.example"),
        ("/api/proxy/a", "/api/proxy/a"),
        ("http://[broken/a", "http://[broken/a"),
    ],
)
def test_link(link: str, expected: str):
    assert URLS.rewrite(link) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('<a href="/a">x</a>', '<a href="/api/proxy/a">x</a>'),
        ("<A HREF='/a' class=b>", '<A HREF="/api/proxy/a" class=b>'),
        ("<img src=/a.png />", '<img src="/api/proxy/a.png" />'),
        ('<a href="/a?x=1&amp;y=2">', '<a href="/api/proxy/a?x=1&amp;y=2">'),
        ('<form\n action = "/f">', '<form\n action = "/api/proxy/f">'),
        ('<iframe src="/a" longdesc="/b">', '<iframe src="/api/proxy/a" longdesc="/api/proxy/b">'),
        ('<video poster="/p"><source src="/v">', '<video poster="/api/proxy/p"><source src="/api/proxy/v">'),
        ('<a data-href="/a" title="/b">', '<a data-href="/a" title="/b">'),
        ('<p src="/a">', '<p src="/a">'),
        ('<!-- <a href="/a"> --><a href="/a">', '<!-- <a href="/a"> --><a href="/api/proxy/a">'),
        (
            '<script src="/s.js">if (a<b) { t = \'<a href="/x">\' }</script>',
            '<script src="/api/proxy/s.js">if (a<b) { t = \'<a href="/x">\' }</script>',
        ),
        ("a < b &copy &bogus; <", "a < b &copy &bogus; <"),
        ('<!DOCTYPE html>\n<html>\n<a href="/a">', '<!DOCTYPE html>\n<html>\n<a href="/api/proxy/a">'),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_document_in_pieces_of_any_size(source: str, expected: str, size: int):
    links = HtmlLinks(URLS)
    pieces = [links.pass_through(source[at : at + size]) for at in range(0, len(source), size)]
    assert "".join(pieces) + links.pass_through("", last=True) == expected


@pytest.mark.parametrize("source", ["<![;", '<a href="/a"><![; <b> <a title="x">'])
def test_what_no_parser_reads_passes_and_so_does_all_behind_it(source: str):
    links = HtmlLinks(URLS)
    expected = source.replace('href="/a"', 'href="/api/proxy/a"')
    assert links.pass_through(source) + links.pass_through("", last=True) == expected


@given(st.lists(st.text(alphabet="<>!-/&;='\" \na\u00e9[]?hrefscipt"), max_size=8))
def test_documents_without_links_to_change_pass_unchanged(pieces: list[str]):
    links = HtmlLinks(ProxiedUrls("", frozenset()))
    assert "".join(map(links.pass_through, pieces)) + links.pass_through("", last=True) == "".join(pieces)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(b"text" * 100)),
        ("deflate", zlib.compress(b"text" * 100)),
        ("deflate", zlib.compress(b"text" * 100)[2:-4]),
    ],
)
def test_inflating(encoding: str, data: bytes):
    inflating = Inflating(encoding)
    assert b"".join(inflating.feed(data[at : at + 7]) for at in range(0, len(data), 7)) == b"text" * 100
