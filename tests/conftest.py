"""Property tests draw the same examples on every machine and have no deadline: two cores are shared."""

from hypothesis import settings

settings.register_profile("ringroad", deadline=None, derandomize=True, database=None)
settings.load_profile("ringroad")
