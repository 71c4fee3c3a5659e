"""Manifests of a corpus for other people's tools, with URLs that they can open; no recording is read."""
