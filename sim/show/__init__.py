"""Look at the simulated world: pictures and the commands that make them."""
