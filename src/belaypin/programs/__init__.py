"""The semantics: every store operation as a pure program (see ``belaypin.program``)."""
