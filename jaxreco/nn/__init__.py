"""Transformer blocks with a cache, and the distribution over slates."""
