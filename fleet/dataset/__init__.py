"""Frozen lists of labelled clips: the list (``frozen``), of clips (``order``), of recipes (``recipe``)."""
