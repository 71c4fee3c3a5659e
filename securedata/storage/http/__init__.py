"""GET and PUT over libcurl: one engine for both."""
