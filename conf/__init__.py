"""Hydra configuration, one folder per role; packaged so that an installed command finds it."""
