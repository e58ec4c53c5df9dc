"""What stagedoor is compared with: each peer is the service a careful engineer would write by hand."""
