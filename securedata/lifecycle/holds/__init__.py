"""Holds on the rows of a person, and erasures that wait for the end of one."""
