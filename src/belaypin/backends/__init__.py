"""Engines: what runs a program. A backend is whatever passes ``belaypin.testing.conformance``."""
