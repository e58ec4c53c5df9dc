"""API Gateway's control plane for REST APIs. What is deployed here is served by ``public``."""
