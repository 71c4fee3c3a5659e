"""What is measured beside securedata, in venvs of its own where it has to be."""
