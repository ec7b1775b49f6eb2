"""Who NGINX's workers run as where there is nobody but root, as in the user namespace of an ordinary user's cluster."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.cli.agent_ingress import workers_user

ASK = "from fairlead.cli.agent_ingress import workers_user; print(workers_user('www-data'))"
CONFIG = """
user {user};
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
  client_body_temp_path {folder}/b;
  proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
}}
"""


def _alone(*words: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["unshare", "-Ur", *words], capture_output=True, text=True, timeout=30, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no user namespaces: {done.stderr.strip()}")
    return done


@pytest.mark.kernel
def test_where_there_is_nobody_else_it_is_root_and_nginx_takes_that(tmp_path: Path) -> None:
    user = _alone(sys.executable, "-c", ASK).stdout.strip()
    assert user == "root"
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None:
        pytest.skip("no nginx")
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(user=user, folder=tmp_path))
    done = _alone(nginx, "-t", "-q", "-e", "stderr", "-c", config)
    assert done.returncode == 0, done.stderr


def test_elsewhere_it_is_who_was_named() -> None:
    if os.geteuid() != 0 or Path("/proc/self/uid_map").read_text().split()[:2] != ["0", "0"]:
        pytest.skip("needs root outside a user namespace")
    assert workers_user("nobody") == "nobody"
