"""What every field of every served type is: read from one generated file, used to merge, to check and to explain."""
