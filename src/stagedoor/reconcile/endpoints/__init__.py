"""Makes endpoints true: ``fleets`` (what should run, as records have it), ``plan`` (pure), ``workers``, ``act``."""
