"""For all tests: a property does not fail for the time that an example of it took, since machines are shared."""

from hypothesis import settings

settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")
