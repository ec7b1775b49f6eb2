"""Starting keeper and supervisor: what is told, what is refused, and that a start given up leaves no process."""

import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import NoReturn

import pytest

from fairlead.cluster.home import ClusterHome
from fairlead.cluster.launch import LaunchPlan, Report, launch, open_api_listener
from fairlead.cluster.stop import end_cluster
from fairlead.drivers.errors import FairleadError


@pytest.fixture
def home(tmp_path: Path) -> ClusterHome:
    found = ClusterHome("trial", tmp_path / "trial")
    found.prepare()
    return found


def plan_of(home: ClusterHome, port: int) -> LaunchPlan:
    return LaunchPlan(home=home, nodes=1, api_port=port, detach=True)


def wait_until_free(home: ClusterHome) -> None:
    """The lock falls with the last process of the cluster."""
    deadline = time.monotonic() + 10
    while True:
        try:
            os.close(home.lock())
        except FairleadError:
            assert time.monotonic() < deadline, "a process of the cluster is left"
            time.sleep(0.01)
        else:
            return


def test_the_wanted_port_is_taken_or_refused_with_a_remedy():
    with open_api_listener(None, None) as first:
        port: int = first.getsockname()[1]
        with pytest.raises(FairleadError, match=f"port {port} on 127.0.0.1 cannot be used") as caught:
            open_api_listener(port, None)
        assert "--api-port" in caught.value.remedy


def test_the_port_of_the_last_run_is_used_again_if_it_is_free():
    with open_api_listener(None, None) as listener:
        port: int = listener.getsockname()[1]
        with open_api_listener(None, port) as other:
            assert other.getsockname()[1] != port
    with open_api_listener(None, port) as again:
        assert again.getsockname()[1] == port
        assert again.getsockname()[0] == "127.0.0.1"


@pytest.mark.kernel
def test_a_supervisor_that_is_ready_is_recorded_and_can_be_ended(home: ClusterHome):
    def supervise(plan: LaunchPlan, listener: socket.socket, report: Report) -> NoReturn:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        report(ready=1)
        signal.sigwait({signal.SIGTERM})
        os._exit(0)

    with open_api_listener(None, None) as listener:
        record = launch(plan_of(home, 7), listener, home.lock(), supervise)
    assert home.running() == record
    assert (record.name, record.api_port, record.nodes) == ("trial", 7, 1)
    assert end_cluster(home)
    os.waitpid(record.keeper, 0)
    wait_until_free(home)
    assert home.running() is None
    assert not end_cluster(home)


@pytest.mark.kernel
def test_a_refusal_reaches_the_caller_with_its_remedy(home: ClusterHome):
    def supervise(plan: LaunchPlan, listener: socket.socket, report: Report) -> NoReturn:
        raise FairleadError("no such luck", "try again")

    with open_api_listener(None, None) as listener, pytest.raises(FairleadError, match="no such luck") as caught:
        launch(plan_of(home, 7), listener, home.lock(), supervise)
    assert caught.value.remedy == "try again"
    wait_until_free(home)


@pytest.mark.kernel
def test_a_supervisor_that_ends_early_is_an_error_that_names_the_log(home: ClusterHome):
    def supervise(plan: LaunchPlan, listener: socket.socket, report: Report) -> NoReturn:
        os._exit(1)

    with open_api_listener(None, None) as listener, pytest.raises(FairleadError, match="ended while it") as caught:
        launch(plan_of(home, 7), listener, home.lock(), supervise)
    assert str(home.logs / "supervisor.log") in caught.value.remedy


@pytest.mark.kernel
def test_a_start_that_is_interrupted_leaves_no_process(home: ClusterHome):
    reader, writer = os.pipe()

    def supervise(plan: LaunchPlan, listener: socket.socket, report: Report) -> NoReturn:
        os.write(writer, b"x")
        time.sleep(60)
        os._exit(0)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    caller = os.getpid()
    helper = os.fork()
    if helper == 0:  # sends the signal once the supervisor runs
        select.select([reader], [], [], 20)
        os.kill(caller, signal.SIGUSR2)
        os._exit(0)
    before = signal.signal(signal.SIGUSR2, interrupt)
    try:
        with open_api_listener(None, None) as listener, pytest.raises(KeyboardInterrupt):
            launch(plan_of(home, 7), listener, home.lock(), supervise)
    finally:
        signal.signal(signal.SIGUSR2, before)
        os.waitpid(helper, 0)
        os.close(reader)
        os.close(writer)
    wait_until_free(home)
