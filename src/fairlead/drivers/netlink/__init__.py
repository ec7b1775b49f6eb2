"""Netlink, one protocol family a module: nftables, and links with their addresses, routes and neighbours."""
