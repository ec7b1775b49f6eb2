"""Parts of a cluster that are installed once a manifest needs them."""
