"""The checks, to be awaited. The sync side, ``_sync``, is generated from this one."""
