"""The family `portrait`: photographic faces on a laptop."""
