"""Streams of sealed rows: planned by arithmetic, read ahead, resumed exactly."""
