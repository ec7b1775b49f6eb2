"""The files every container gets: /etc/hosts, /etc/resolv.conf, /etc/hostname. Pure.

Source: pkg/kubelet/kubelet_pods.go (hostsFileContent, GeneratePodHostNameAndDomain), pkg/kubelet/network/dns.
"""

from collections.abc import Sequence

from fairlead.kube.pods import Pod

DOMAIN, DNS_ADDRESS = "cluster.local", "10.96.0.10"


def hostname_of(pod: Pod, node: str) -> str:
    """What `hostname` says in the pod: its own name unless it asks for another, or the node's on its network."""
    return node if pod.spec.host_network else (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def hosts_text(pod: Pod, addresses: Sequence[str], hostname: str) -> str:
    """The content of /etc/hosts."""
    lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    names = hostname
    if pod.spec.subdomain:
        names = f"{hostname}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{DOMAIN}\t{hostname}"
    lines += [f"{address}\t{names}" for address in addresses]
    if pod.spec.host_aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join((alias.ip, *alias.hostnames)) for alias in pod.spec.host_aliases]
    return "\n".join((*lines, ""))


def resolv_text(pod: Pod, host: str) -> str:
    """The content of /etc/resolv.conf; `host` is the node's own, for pods that want that."""
    spec, config = pod.spec, pod.spec.dns_config
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    if spec.dns_policy == "ClusterFirstWithHostNet" or (spec.dns_policy == "ClusterFirst" and not spec.host_network):
        nameservers = [DNS_ADDRESS]
        searches = [f"{pod.metadata.namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN]
        options = ["ndots:5"]
    elif spec.dns_policy != "None":
        words = [line.split() for line in host.splitlines()]
        nameservers = [word[1] for word in words if word[:1] == ["nameserver"] and len(word) > 1]
        searches = [name for word in words if word[:1] == ["search"] for name in word[1:]]
        options = [name for word in words if word[:1] == ["options"] for name in word[1:]]
    if config is not None:
        nameservers += [each for each in config.nameservers if each not in nameservers]
        searches += [each for each in config.searches if each not in searches]
        for option in config.options:
            options = [each for each in options if each.split(":")[0] != option.name]
            options.append(option.name if option.value is None else f"{option.name}:{option.value}")
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {each}" for each in nameservers[:3]]
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join((*lines, ""))
