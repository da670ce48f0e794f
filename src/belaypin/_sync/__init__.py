# Generated from src/belaypin/_async/__init__.py by tools/generate_sync.py; do not edit.
"""What users of asyncio hold. The sync side, ``belaypin._sync``, is generated from this one."""
