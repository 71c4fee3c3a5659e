"""What lifecycle does in the tasks of a run, in threads or in other processes."""
