"""IAM: users, roles, policies and access keys. ``services.principals`` holds what requests need of them in memory."""
