"""CloudWatch's metrics: put, listed, and read back as statistics."""
