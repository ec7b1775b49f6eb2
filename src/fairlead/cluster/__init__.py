"""The embedded cluster: its API server, controllers, kubelet, stand-ins, DNS and network, and how they are started."""
