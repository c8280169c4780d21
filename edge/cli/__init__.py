"""The command `ringroad`: its root, its output, and the group `edge`."""
