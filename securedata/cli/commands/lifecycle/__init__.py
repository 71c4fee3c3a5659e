"""Commands about the life of people's data, one file each."""
