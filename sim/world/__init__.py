"""What moves: traffic, the ego vehicle, walkers, and the scripted encounters that put them to the test."""
