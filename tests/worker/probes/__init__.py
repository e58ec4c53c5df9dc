"""Models and jobs for the tests of engines and workers; they run inside real worker processes."""
