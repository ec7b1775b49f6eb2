"""Are kube-proxy's host settings made where they can be, and left where not?"""

import os
from pathlib import Path

import pytest

from fairlead.agents.node.hostsettings import apply_host_settings, host_settings
from fairlead.drivers.netns import entered, new_namespace


@pytest.mark.parametrize(("processors", "most"), [(1, 131_072), (4, 131_072), (8, 262_144), (64, 1_048_576)])
def test_room_for_connections_grows_with_the_processors_up_to_a_million(processors: int, most: int) -> None:
    assert host_settings(processors)["net/netfilter/nf_conntrack_max"] == str(most)


def test_what_cannot_be_set_is_said_once_and_the_rest_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").write_text("1\n")
    (tmp_path / "right").write_text("3\n")
    (tmp_path / "folder").mkdir()
    apply_host_settings({"folder": "1", "missing": "2", "there": "2", "right": "3"}, tmp_path)
    assert (tmp_path / "there").read_text() == "2"
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "event=host-setting sysctl=there value=2"
    assert said[1].startswith("event=host-settings-left folder=")
    assert 'missing="No such file or directory"' in said[1]
    assert len(said) == 2


@pytest.mark.kernel
def test_a_namespace_takes_the_timeouts() -> None:
    namespace = new_namespace()
    try:
        with entered(namespace):
            apply_host_settings()
            found = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait").read_text()
    finally:
        os.close(namespace)
    assert found == "3600\n"
