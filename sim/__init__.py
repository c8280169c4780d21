"""A world to try it in."""
