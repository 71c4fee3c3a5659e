"""The work of a run, done by threads of its process or by other processes."""
