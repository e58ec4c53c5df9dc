"""What hyperparameter tuning tries next: search spaces and proposals, in a process beside the server."""
