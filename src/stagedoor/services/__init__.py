"""AWS services: one folder per service, one module per resource, one function per operation."""
