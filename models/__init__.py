"""The network, its training, its export, and the shipped weights."""
