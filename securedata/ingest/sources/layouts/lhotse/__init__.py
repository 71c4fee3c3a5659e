"""Lhotse: its manifests as a layout, and the recordings that they name."""
