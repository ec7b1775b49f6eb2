"""The process that keeps the ingress controller running: what it starts again, what it does not, and what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.drivers.nginxd import MissingNginxError, Nginx, NginxFolder

HEAD = """
import sys
from pathlib import Path
from fairlead.agents.ingress.keeper import keep
from fairlead.drivers.nginxd import MissingNginxError

lives = Path(sys.argv[1])

def run() -> None:
    with lives.open("a") as file:
        file.write(".")
"""


def kept(lives: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    program = HEAD + "".join(f"    {line}\n" for line in lines) + "\nsys.exit(keep(run))\n"
    return subprocess.run(
        [sys.executable, "-c", program, lives], capture_output=True, text=True, timeout=30, check=False
    )


def test_without_nginx_it_ends_and_says_what_to_install(tmp_path: Path) -> None:
    done = kept(
        tmp_path / "lives", 'raise ExceptionGroup("tasks", [MissingNginxError("no program nginx", "install it")])'
    )
    assert done.returncode == 3
    assert "no program nginx: install it" in done.stdout + done.stderr
    assert (tmp_path / "lives").read_text() == "."


def test_whatever_else_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    done = kept(
        tmp_path / "lives",
        "if len(lives.read_text()) == 2:",
        "    sys.exit(2)",
        'raise ExceptionGroup("tasks", [ValueError("one"), KeyError("two")])',
    )
    assert done.returncode == 2
    assert "ValueError: one" in done.stdout + done.stderr
    assert "KeyError: 'two'" in done.stdout + done.stderr
    assert (tmp_path / "lives").read_text() == ".."


def test_a_program_and_a_module_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingNginxError, match=r"no program no-such-nginx: install the packages nginx"):
        Nginx(NginxFolder(tmp_path, "no-such-nginx")).require()
    lua = str(tmp_path / "ngx_http_lua_module.so")
    with pytest.raises(MissingNginxError, match=lua):
        Nginx(NginxFolder(tmp_path, sys.executable)).require((lua,))
    Nginx(NginxFolder(tmp_path, sys.executable)).require((sys.executable,))
