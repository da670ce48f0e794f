"""What users of asyncio hold. The sync side, ``belaypin._sync``, is generated from this one."""
