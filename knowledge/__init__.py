"""What yangche knows: the catalogue of lights, the verdict, and the archive of past fixes."""
