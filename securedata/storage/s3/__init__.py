"""Storage on S3 and servers with its API."""
