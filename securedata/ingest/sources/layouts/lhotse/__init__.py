"""Lhotse: the layout of its manifests, and the recordings that they name."""
