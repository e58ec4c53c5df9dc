"""Function workers and queued events: as many workers as demand asks for, every queued event run."""
