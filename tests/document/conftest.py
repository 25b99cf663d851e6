"""Property tests are as slow as the machine: what they promise has no time limit of its own."""

from hypothesis import settings

settings.register_profile("document", deadline=None, database=None)
settings.load_profile("document")
