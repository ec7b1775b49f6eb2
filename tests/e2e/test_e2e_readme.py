"""The README's commands, run as they stand there."""

import re
import shutil
import subprocess

import pytest
from conftest import REPOSITORY, Command

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]


def test_the_commands_beside_a_running_cluster_work_as_printed(shop: Command) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on this machine")
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    block = next(text for text in blocks if "exec --from client" in text)
    script = "\n".join(line for line in block.splitlines() if not line.startswith("./fairlead down"))
    assert script.count("\n") >= 5
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=REPOSITORY,
        env=shop.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"pod":"web-' in done.stdout
    assert "table ip fairlead" in done.stdout
    assert "coredns" in done.stdout
    assert "cluster fairlead: 3 nodes" in done.stdout
