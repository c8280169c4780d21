"""A training row (``row``), and the futures of its tracks (``futures``)."""
