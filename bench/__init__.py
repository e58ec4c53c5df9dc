"""Side-by-side benchmarks against peers, one command: ``make bench``."""
