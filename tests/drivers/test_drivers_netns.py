"""Network namespaces of the real kernel: made, entered and left."""

import os
import socket
from pathlib import Path

import pytest

from fairlead.drivers.errors import FairleadError
from fairlead.drivers.netns import (
    current_namespace,
    enter_for_good,
    entered,
    namespace_of,
    new_namespace,
    open_socket,
    write_sysctl,
)

pytestmark = pytest.mark.kernel


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_a_new_namespace_is_another_one_and_the_caller_stays():
    before = here()
    fd = new_namespace()
    assert here() == before
    assert os.fstat(fd).st_ino != before
    os.close(fd)


def test_entering_moves_the_thread_and_comes_back_after_an_error():
    before, fd = here(), new_namespace()
    seen: list[int] = []

    def fail_inside():
        with entered(fd):
            seen.append(here())
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert seen == [os.fstat(fd).st_ino]
    assert here() == before
    os.close(fd)


def test_entering_nests():
    outer, inner = new_namespace(), new_namespace()
    with entered(outer):
        with entered(inner):
            assert here() == os.fstat(inner).st_ino
        assert here() == os.fstat(outer).st_ino
    os.close(outer)
    os.close(inner)


def test_a_body_that_ends_up_elsewhere_is_a_bug():
    before, fd = here(), new_namespace()
    third = new_namespace()
    with pytest.raises(AssertionError), entered(fd):
        enter_for_good(third)
    assert here() == before
    os.close(fd)
    os.close(third)


def test_a_socket_belongs_to_the_namespace_it_was_opened_in():
    first, second = new_namespace(), new_namespace()
    one = open_socket(first, socket.AF_INET, socket.SOCK_STREAM)
    two = open_socket(second, socket.AF_INET, socket.SOCK_STREAM)
    one.bind(("0.0.0.0", 4711))
    two.bind(("0.0.0.0", 4711))  # the same port is free in the other namespace
    assert not one.getblocking()
    for held in (one, two):
        held.close()
    os.close(first)
    os.close(second)


def test_a_socket_tells_its_namespace():
    fd = new_namespace()
    with open_socket(fd, socket.AF_INET, socket.SOCK_DGRAM) as opened:
        told = namespace_of(opened)
    assert os.fstat(told).st_ino == os.fstat(fd).st_ino
    os.close(told)
    os.close(fd)


def test_a_process_can_move_for_good():
    fd = new_namespace()
    child = os.fork()
    if child == 0:
        enter_for_good(fd)
        os._exit(0 if here() == os.fstat(fd).st_ino else 1)
    assert os.waitpid(child, 0)[1] == 0
    os.close(fd)


def test_a_sysctl_changes_inside_only():
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    fd, other = new_namespace(), new_namespace()
    for wanted in ("1", "0"):
        write_sysctl(fd, "net/ipv4/ip_forward", wanted)
        with entered(fd):
            assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == wanted
        with entered(other):
            assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == before
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == before
    os.close(fd)
    os.close(other)


def test_an_unknown_sysctl_is_refused_by_name():
    fd = new_namespace()
    with pytest.raises(FairleadError, match="net/ipv4/no_such_knob"):
        write_sysctl(fd, "net/ipv4/no_such_knob", "1")
    os.close(fd)


def test_a_descriptor_of_something_else_cannot_be_entered():
    before = here()
    with Path(os.devnull).open() as nothing, pytest.raises(FairleadError, match="enter"), entered(nothing.fileno()):
        pass
    assert here() == before


def test_the_current_namespace_has_a_descriptor():
    fd = current_namespace()
    assert os.fstat(fd).st_ino == here()
    os.close(fd)
