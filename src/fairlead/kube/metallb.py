"""MetalLB's resources: pools of addresses, how they are announced, and what came of it.

Source: the metallb.io definitions of MetalLB 0.16 (config/crd/bases). Durations are texts such as `90s`, as Go writes
them.
"""

from msgspec import field

from fairlead.kube.base import Wire
from fairlead.kube.meta import Condition, KubeObject, LabelSelector


class ServiceAllocation(Wire, frozen=True):
    """Which Services a pool is for; a lower `priority` is asked first, and 0 last.

    Empty lists allow all. `namespaces` and `namespace_selectors` add to each other; `service_selectors` then restrict.
    """

    priority: int = 0
    namespaces: tuple[str, ...] = ()
    namespace_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()


class IPAddressPoolSpec(Wire, frozen=True):
    """`addresses` are prefixes or `FIRST-LAST`, of both families."""

    addresses: tuple[str, ...] = ()
    auto_assign: bool | None = None
    avoid_buggy_ips: bool = False
    service_allocation: ServiceAllocation | None = None


class IPAddressPoolStatus(Wire, frozen=True):
    """How many addresses of a pool are in use, and how many are free."""

    assigned_ipv4: int = field(name="assignedIPv4", default=0)
    assigned_ipv6: int = field(name="assignedIPv6", default=0)
    available_ipv4: int = field(name="availableIPv4", default=0)
    available_ipv6: int = field(name="availableIPv6", default=0)


class IPAddressPool(KubeObject, frozen=True):
    """Addresses for Services of type LoadBalancer."""

    spec: IPAddressPoolSpec = IPAddressPoolSpec()
    status: IPAddressPoolStatus = IPAddressPoolStatus()


class PreferredNodeSelector(Wire, frozen=True):
    """Nodes that an announcement should rather come from; `weight` is 1 to 100."""

    weight: int = 1
    preference: LabelSelector = LabelSelector()


class L2AdvertisementSpec(Wire, frozen=True):
    """Without pools and selectors: all pools. Without node selectors or interfaces: all of these."""

    ip_address_pools: tuple[str, ...] = ()
    ip_address_pool_selectors: tuple[LabelSelector, ...] = ()
    node_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    preferred_node_selectors: tuple[PreferredNodeSelector, ...] = ()
    interfaces: tuple[str, ...] = ()


class L2Advertisement(KubeObject, frozen=True):
    """Announces the addresses of pools by ARP and NDP."""

    spec: L2AdvertisementSpec = L2AdvertisementSpec()


class BGPAdvertisementSpec(Wire, frozen=True):
    """Without pools and selectors: all pools. Without peers: all of them."""

    ip_address_pools: tuple[str, ...] = ()
    ip_address_pool_selectors: tuple[LabelSelector, ...] = ()
    node_selectors: tuple[LabelSelector, ...] = ()
    service_selectors: tuple[LabelSelector, ...] = ()
    peers: tuple[str, ...] = ()
    communities: tuple[str, ...] = ()
    local_pref: int = 0
    aggregation_length: int = 32
    aggregation_length_v6: int = 128


class BGPAdvertisement(KubeObject, frozen=True):
    """Announces the addresses of pools to routers."""

    spec: BGPAdvertisementSpec = BGPAdvertisementSpec()


class SecretReference(Wire, frozen=True):
    """Names a Secret."""

    name: str = ""
    namespace: str = ""


class BGPPeerSpec(Wire, frozen=True):
    """A router. `peer_asn` or `dynamic_asn` (internal, external), `peer_address` or `interface` is given."""

    my_asn: int = field(name="myASN", default=0)
    local_asn: int = field(name="localASN", default=0)
    peer_asn: int = field(name="peerASN", default=0)
    dynamic_asn: str = field(name="dynamicASN", default="")
    peer_address: str = ""
    interface: str = ""
    peer_port: int = 179
    source_address: str = ""
    router_id: str = ""
    hold_time: str | None = None
    keepalive_time: str | None = None
    connect_time: str | None = None
    password: str = ""
    password_secret: SecretReference | None = None
    bfd_profile: str = ""
    enable_graceful_restart: bool = False
    ebgp_multi_hop: bool = False
    vrf: str = ""
    dual_stack_address_family: bool = False
    disable_mp: bool = field(name="disableMP", default=False)
    node_selectors: tuple[LabelSelector, ...] = ()


class BGPPeer(KubeObject, frozen=True):
    """A router that addresses are announced to."""

    spec: BGPPeerSpec = BGPPeerSpec()


class LegacyBGPPeer(BGPPeer, frozen=True):
    """A BGPPeer written as v1beta1, which has fewer fields of the same meaning."""


class BFDProfileSpec(Wire, frozen=True):
    """Settings of bidirectional forwarding detection; intervals are milliseconds."""

    receive_interval: int | None = None
    transmit_interval: int | None = None
    detect_multiplier: int | None = None
    echo_interval: int | None = None
    echo_mode: bool = False
    passive_mode: bool = False
    minimum_ttl: int | None = None


class BFDProfile(KubeObject, frozen=True):
    """Settings that BGPPeers refer to."""

    spec: BFDProfileSpec = BFDProfileSpec()


class CommunityAlias(Wire, frozen=True):
    """A name for a community such as `65535:65282`."""

    name: str = ""
    value: str = ""


class CommunitySpec(Wire, frozen=True):
    """Names for communities."""

    communities: tuple[CommunityAlias, ...] = ()


class Community(KubeObject, frozen=True):
    """Names that BGPAdvertisements may use."""

    spec: CommunitySpec = CommunitySpec()


class InterfaceName(Wire, frozen=True):
    """An interface an address is announced from."""

    name: str = ""


class ServiceL2StatusStatus(Wire, frozen=True):
    """Which node answers for a Service; no interfaces means all of them."""

    node: str = ""
    service_name: str = ""
    service_namespace: str = ""
    interfaces: tuple[InterfaceName, ...] = ()


class ServiceL2Status(KubeObject, frozen=True):
    """Who answers ARP and NDP for the addresses of a Service."""

    status: ServiceL2StatusStatus = ServiceL2StatusStatus()


class ServiceBGPStatusStatus(Wire, frozen=True):
    """The peers that one node is configured to announce a Service to."""

    node: str = ""
    service_name: str = ""
    service_namespace: str = ""
    peers: tuple[str, ...] = ()


class ServiceBGPStatus(KubeObject, frozen=True):
    """Whom a Service is announced to, by node."""

    status: ServiceBGPStatusStatus = ServiceBGPStatusStatus()


class ConfigurationStateSpec(Wire, frozen=True):
    """`type` is Controller or Speaker; a speaker names its node."""

    type: str = ""
    node_name: str = ""


class ConfigurationStateStatus(Wire, frozen=True):
    """Whether the configuration is carried out, and if not, what is wrong; the last good one then still is."""

    valid_config: bool = False
    last_error: str = ""
    conditions: tuple[Condition, ...] = ()


class ConfigurationState(KubeObject, frozen=True):
    """What a controller or speaker thinks of the configuration."""

    spec: ConfigurationStateSpec = ConfigurationStateSpec()
    status: ConfigurationStateStatus = ConfigurationStateStatus()
