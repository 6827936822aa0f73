"""What tests/e2e/run runs in the client pod of a cluster."""
