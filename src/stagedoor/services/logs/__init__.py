"""CloudWatch Logs: the operations over ``store.log_events``."""
