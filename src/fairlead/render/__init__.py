"""The model as rows and rules of nftables."""
