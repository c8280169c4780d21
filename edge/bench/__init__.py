"""Measure the cost of a tick on this board in real time."""
