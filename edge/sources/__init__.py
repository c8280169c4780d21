"""Sources of frame sets besides the simulator."""
