"""Training of the family's own networks."""
