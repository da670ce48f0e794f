# Generated from src/belaypin/integrations/langgraph/_async/__init__.py by tools/generate_sync.py; do not edit.
"""What a saver asks of the database, written once as async; the sync side is generated."""
