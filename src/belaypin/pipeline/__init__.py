"""Pipelines: decorators that name what the loop fetches and stores; a runner spreads the work."""
