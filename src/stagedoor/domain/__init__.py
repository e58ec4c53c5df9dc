"""Values without I/O that every layer may use: names, ARNs, errors, clock, ids."""
