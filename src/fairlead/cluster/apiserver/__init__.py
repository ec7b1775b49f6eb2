"""The embedded cluster's API server: one generic engine over a table of kinds, in memory, with a log on disk."""
