"""A corpus whose manifest parts are opened one by one."""
