"""Readings of a vehicle's sensors, and the truth for an annotator."""
