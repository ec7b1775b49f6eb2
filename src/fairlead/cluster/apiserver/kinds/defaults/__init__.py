"""What the server fills in where the author of an object was silent."""
