"""Version, health and metrics.

In: the path. Out: small answers that need no objects. https://kubernetes.io/docs/reference/using-api/health-checks/.
"""

import platform

import msgspec
from msgspec import Struct

VERSION = "v1.33.4"

_CHECKS = ("ping", "log", "storage")
_GRACE = ("livez", "readyz", "healthz")


class Text(Struct, frozen=True):
    """A plain answer."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


def version() -> bytes:
    """Return the answer to GET /version: the release whose API this server speaks, marked as ours."""
    from fairlead import __version__

    major, minor, _ = VERSION.removeprefix("v").split(".")
    return msgspec.json.encode(
        {
            "major": major,
            "minor": minor,
            "gitVersion": f"{VERSION}+fairlead",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": f"fairlead {__version__}, python {platform.python_version()}",
            "compiler": platform.python_implementation(),
            "platform": f"{platform.system().lower()}/{_ARCHITECTURES.get(platform.machine(), platform.machine())}",
        }
    )


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def health(path: str, *, verbose: bool, writable: bool) -> Text | None:
    """Answer /healthz, /livez, /readyz and single checks below them; None for any other path.

    A server whose disk takes no writes lives, and is not ready.
    """
    _, endpoint, *checks = path.rstrip("/").split("/")
    if endpoint not in _GRACE or len(checks) > 1 or any(check not in _CHECKS for check in checks):
        return None
    failed = [check for check in checks or _CHECKS if check == "storage" and not writable and endpoint != "livez"]
    if not failed and not verbose:
        return Text(b"ok")
    lines = [
        f"[-]{check} failed: the last write could not be kept" if check in failed else f"[+]{check} ok"
        for check in checks or _CHECKS
    ]
    lines.append(f"{endpoint} check {'failed' if failed else 'passed'}")
    return Text("\n".join(lines).encode() + b"\n", status=500 if failed else 200)
