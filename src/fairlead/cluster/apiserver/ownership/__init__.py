"""Server-side apply: which manager owns which field, and what follows from it (KEP-555)."""
