"""Sealed objects: fetch and put them, read them as files, explain missing ones."""
