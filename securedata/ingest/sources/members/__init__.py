"""Recordings inside of other files: members of tars, rows of tables. None of them is ever written to disk."""
