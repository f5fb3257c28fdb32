"""Traces of programs: reading them in many formats, and what they show."""
