"""GET and PUT over libcurl."""
