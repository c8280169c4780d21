"""The still world: maps, ground, scenery, and the spots where something may stand."""
