"""What agents leave in the kernel, removed: for whoever goes back to another proxy.

Comes in: nothing. Goes out: which tables there were. Connections that were translated live on: connection tracking
holds them, not the rows.
"""

from fairlead.drivers.netlink.nftables import open_nft_socket
from fairlead.nft.objects import TableFamily
from fairlead.nft.transactions import AddTable, DeleteTable, Transaction
from fairlead.render.policy_chains import TABLE as POLICY_TABLE
from fairlead.render.return_path import TABLE as RETURN_TABLE
from fairlead.render.service_layout import TABLE

OURS = tuple(
    (family, name)
    for name in (TABLE, POLICY_TABLE, RETURN_TABLE)
    for family in (TableFamily.IP, TableFamily.IP6, TableFamily.INET)
)
"""Every table an agent may have made."""


def remove_tables() -> tuple[str, ...]:
    """Remove our tables from the current network namespace and name those there were. Raises FairleadError."""
    removed: list[str] = []
    with open_nft_socket() as nft:
        for family, name in OURS:
            if nft.has_table(family, name):
                nft.apply(Transaction(family, name, (AddTable(), DeleteTable())))
                removed.append(f"table {family.name.lower()} {name}")
    return tuple(removed)
