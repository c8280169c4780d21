"""SUMO as a world: its traffic, and around it what SUMO does not know of."""
