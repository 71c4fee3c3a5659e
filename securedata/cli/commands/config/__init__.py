"""Commands for the config file."""
