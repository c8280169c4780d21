"""Where nothing moves: maps, ground, scenery, and the spots where something may stand."""
