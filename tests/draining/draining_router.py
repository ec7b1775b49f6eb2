"""A router at the fabric that learns addresses by BGP and spreads connections over the nodes: BIRD."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from draining_cluster import Cluster, eventually

MANIFESTS = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: routed, namespace: metallb-system}
spec: {addresses: [192.0.2.0/24], autoAssign: false}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: routed, namespace: metallb-system}
spec: {ipAddressPools: [routed]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: fabric, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 172.18.0.1, holdTime: 30s}
---
apiVersion: v1
kind: Service
metadata: {name: routed, annotations: {metallb.io/address-pool: routed}}
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.dev/bgp
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
"""
CONFIG = """
router id 172.18.0.1;
protocol device {}
protocol kernel { ipv4 { export all; }; merge paths on; }
"""
PEER = "protocol bgp { local 172.18.0.1 as 64513; neighbor %s as 64512; passive; ipv4 { import all; export none; }; }\n"


@asynccontextmanager
async def routed(cluster: Cluster, folder: Path, nodes: tuple[str, ...]) -> AsyncGenerator[str]:
    """Have a Service announced to a router for the body; the address it has."""
    cluster.kubectl("apply", "-f", "-", stdin=MANIFESTS)
    address = cluster.address("service", "routed")
    (folder / "bird.conf").write_text(CONFIG + "".join(PEER % node for node in nodes))
    cluster.at("fabric", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy")
    words = ("bird", "-f", "-c", str(folder / "bird.conf"), "-s", str(folder / "bird.sock"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fairlead", "exec", "--from", "fabric", "--", *words),
        env=cluster.environment,
        stdin=subprocess.DEVNULL,
    )
    try:

        def paths() -> int:
            return cluster.at("fabric", "ip", "route", "show", address).count("nexthop via")

        await asyncio.to_thread(eventually, lambda: paths() == len(nodes), "a path by each node", 60)
        yield address
    finally:
        process.terminate()
        await process.wait()
        cluster.kubectl("delete", "--wait=false", "-f", "-", stdin=MANIFESTS)
