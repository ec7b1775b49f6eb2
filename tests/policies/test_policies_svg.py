"""The picture of a reach: what each cell says, and that nothing lies over anything else or outside."""

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from fairlead.sim.reach_svg import svg_of

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("shop/web[Deployment]", "shop/db", "x/a", "192.0.2.0/24[External]", "elsewhere[External]")
PAIRS = {
    ("shop/web[Deployment]", "shop/db"): "TCP 5432",
    ("shop/web[Deployment]", "x/a"): "All Connections",
    ("192.0.2.0/24[External]", "shop/web[Deployment]"): "TCP 80,443,8080-8090",
}


def parse(names: tuple[str, ...], pairs: dict[tuple[str, str], str]) -> ElementTree.Element:
    return ElementTree.fromstring(svg_of(names, pairs))


def told(root: ElementTree.Element) -> dict[str, str]:
    """What cells say when they are pointed at, with their colours."""
    found: dict[str, str] = {}
    for rect in root.iter(f"{SVG}rect"):
        title = rect.find(f"{SVG}title")
        if title is not None:
            found[title.text or ""] = rect.get("fill", "")
    return found


def test_every_pair_that_is_asked_has_a_cell_that_tells_its_ports() -> None:
    found = told(parse(NAMES, PAIRS))
    assert found["shop/web[Deployment] => shop/db: TCP 5432"] != found["shop/web[Deployment] => x/a: All Connections"]
    assert found["x/a => shop/db: nothing"] not in {found[f"{a} => {b}: {conn}"] for (a, b), conn in PAIRS.items()}
    assert len(found) == 25 - 5 - 2, "a pod with itself, and outside with outside, are not asked"


def test_a_small_picture_has_the_ports_in_its_cells() -> None:
    words = {each.text for each in parse(NAMES, PAIRS).iter(f"{SVG}text")}
    assert {"5432", "80,443,\u2026", "from \u2193  to \u2192"} <= words


@pytest.mark.parametrize("count", [1, 5, 40, 120])
def test_cells_and_labels_are_inside_and_apart(count: int) -> None:
    names = tuple(f"space-{number % 7}/a-workload-with-a-long-name-{number}[Deployment]" for number in range(count))
    root = parse(tuple(sorted(names)), {(a, b): "UDP 53" for a in names for b in names[:3]})
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    boxes = [
        [float(rect.get(name, "")) for name in ("x", "y", "width", "height")]
        for rect in root.iter(f"{SVG}rect")
        if rect.find(f"{SVG}title") is not None
    ]
    for (ax, ay, aw, ah), (bx, by, bw, bh) in combinations(boxes[:300], 2):
        assert ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay
    assert all(x > 0 and x + w < width and y > 0 and y + h < height for x, y, w, h in boxes)
    for text in root.iter(f"{SVG}text"):
        long = 7.2 * len(text.text or "")
        if text.get("text-anchor") == "end":
            assert float(text.get("x", "")) - long >= 0, "runs out at the left"
        turned = re.match(r"translate\((\d+) (\d+)\)", text.get("transform", ""))
        if turned:
            assert float(turned[1]) + 0.71 * long <= width, "runs out at the right"
            assert float(turned[2]) - 0.71 * long >= 0, "runs out at the top"


def test_a_large_picture_draws_what_is_allowed_only() -> None:
    names = tuple(f"x/{number}" for number in range(100))
    assert told(parse(names, {("x/1", "x/2"): "All Connections"})).keys() == {"x/1 => x/2: All Connections"}
