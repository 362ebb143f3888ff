"""User models: pure rules for one user, without a batch dimension."""
