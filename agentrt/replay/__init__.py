"""Traces in, comparison out: readers, runs of policies on an engine, tables, reports, plans."""
