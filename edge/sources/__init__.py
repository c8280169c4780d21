"""Where frame sets come from when no simulator gives them."""
