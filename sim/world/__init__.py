"""The moving world: traffic, the ego vehicle, walkers, and the encounters of scenarios."""
