"""Where a mount of a container lands when its path leads over links of the machine."""

from pathlib import Path

import pytest

from fairlead.cluster.kubelet.launcher import seen_from


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("run", "var/lib", "srv"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/run").symlink_to("/run")
    (tmp_path / "var/data").symlink_to("../srv")
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("var/lib/x", "var/lib/x"),
        ("var/run/secrets/token", "run/secrets/token"),
        ("var/data/a/b", "srv/a/b"),
        ("var/run", "var/run"),
        ("new/../run/x", "run/x"),
    ],
)
def test_links_are_followed_inside_the_new_root(root: Path, path: str, found: str) -> None:
    assert seen_from(str(root), path) == found


def test_a_circle_of_links_ends(root: Path) -> None:
    assert seen_from(str(root), "circle/x").endswith("x")
