"""SUMO as a world: its traffic, and around it the things that SUMO does not know of."""
