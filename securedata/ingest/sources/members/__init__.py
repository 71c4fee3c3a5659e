"""Recordings inside other files: members of tars, rows of tables. They are never written to disk."""
