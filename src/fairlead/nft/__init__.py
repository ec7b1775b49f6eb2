"""The nftables language: values, its netlink and text forms, and the difference between two states of a table."""
