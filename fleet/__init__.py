"""The software of the fleet, in the order of a clip's way through it."""
