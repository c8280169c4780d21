"""A bundle: what is in it (``bundle``), and how a network becomes one (``assemble``)."""
