"""Where workers and jobs run: one interface, several engines (local processes, the fake for tests)."""
