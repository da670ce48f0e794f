"""Crashes: every interleaving, a SIGKILL anywhere, a database that dies, a disk that is full."""
