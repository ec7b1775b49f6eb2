"""The kinds of the embedded API server: one table, and the rules of each row."""
