"""Bodies in the forms that are not JSON."""
