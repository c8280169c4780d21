"""The life around the tick."""
