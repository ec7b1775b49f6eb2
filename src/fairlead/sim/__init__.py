"""What happens to a packet: model and rendered rules walked as a packet walks them, without a kernel."""
