"""Timing, statistics, servers and reports."""
