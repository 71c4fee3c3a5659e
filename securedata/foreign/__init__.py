"""Calls of other libraries: their errors become ours here, and no secret gets out in their texts."""
