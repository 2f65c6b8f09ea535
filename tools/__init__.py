"""What builds, runs and checks the book. Not part of the package."""
