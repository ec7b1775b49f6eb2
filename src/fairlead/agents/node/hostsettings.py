"""The kernel settings kube-proxy makes on a node: room for connections, and how long idle ones are remembered.

Comes in: the number of processors. Goes out: sysctls of the network namespace the agent runs in. What a namespace or
a container does not allow is said once and left as it is. Source: k/cmd/kube-proxy/app/server_linux.go, platformSetup.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from fairlead.agents.lines import log

SYSCTLS = Path("/proc/sys")
_FEWEST, _PER_PROCESSOR, _MOST = 131_072, 32_768, 1_048_576


def host_settings(processors: int) -> dict[str, str]:
    """The settings of a machine with so many processors, by sysctl."""
    return {
        "net/netfilter/nf_conntrack_max": str(min(_MOST, max(_FEWEST, _PER_PROCESSOR * processors))),
        "net/netfilter/nf_conntrack_tcp_timeout_established": str(24 * 3600),
        "net/netfilter/nf_conntrack_tcp_timeout_close_wait": str(3600),
    }


def apply_host_settings(settings: Mapping[str, str] | None = None, root: Path = SYSCTLS) -> None:
    """Make those settings that differ; what cannot be made is complained about and no error."""
    wanted = host_settings(os.cpu_count() or 1) if settings is None else settings
    refused: dict[str, str] = {}
    for key, value in wanted.items():
        file = root / key
        try:
            if file.read_text().strip() != value:
                file.write_text(value)
                log(event="host-setting", sysctl=key, value=value)
        except OSError as error:
            refused[key] = error.strerror or str(error)
    if refused:
        log(event="host-settings-left", **{key.rpartition("/")[2]: why for key, why in refused.items()})
