"""One object for each segment of a recording of several people: `split`."""
