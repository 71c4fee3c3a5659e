"""Processes that work when they are asked to."""
