"""Processes that work on request."""
