"""How agents learn: returns, objectives, the trainer, checkpoints."""
