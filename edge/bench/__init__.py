"""What a tick costs on this board in real time."""
