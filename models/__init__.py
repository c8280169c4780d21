"""What is learned: the network, its training, its export, and the shipped weights."""
