"""Coverage-guided fuzzing finds no way out of an annotation, a host or a path; and it would find one that is there."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent / "routes_fuzzed.py"
RUNS = 20_000 if os.environ.get("FAIRLEAD_LONG") else 60
pytestmark = pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")


def fuzzed(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(HARNESS), f"-artifact_prefix={folder}/", "-max_len=300", *options]
    return subprocess.run(
        words, cwd=HARNESS.parent, env={**os.environ, **environment}, capture_output=True, text=True, timeout=3000,
        check=False,
    )  # fmt: skip


def test_nothing_breaks_out(tmp_path: Path) -> None:
    done = fuzzed(tmp_path, f"-runs={RUNS}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Done {RUNS} runs" in done.stdout + done.stderr


def test_it_would_be_found(tmp_path: Path) -> None:
    done = fuzzed(tmp_path, "-runs=5000", WOULD_BREAK="1")
    assert done.returncode != 0
    assert list(tmp_path.glob("crash-*")), done.stderr
