"""What board this is, and what a tick costs on it."""
