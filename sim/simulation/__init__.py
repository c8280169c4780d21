"""A vehicle in a simulated world: what an instant is made of, joined, with every setting of it."""
