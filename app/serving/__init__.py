"""The server and what lies underneath it."""
