"""Writing: the group-commit writer, shared by both colours."""
