"""A run on disk, what it reports and records, and following it."""
