"""What runs inside worker processes: model server, function bootstrap, job runner, built-in algorithms.

Imports nothing of the rest of stagedoor, so that a worker starts fast and knows nothing it could leak.
"""
