"""The board: its facts, the costs of a tick on it, and the rig that it serves."""
