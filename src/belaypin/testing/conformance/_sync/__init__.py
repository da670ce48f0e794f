# Generated from src/belaypin/testing/conformance/_async/__init__.py by tools/generate_sync.py; do not edit.
"""The checks, to be awaited. The sync side, ``_sync``, is generated from this one."""
