"""Other libraries' hooks, one file for each library; a file is imported only by who uses that library."""
