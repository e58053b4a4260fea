"""What stands behind a door that many people use at once: their private folders, the families, the work in turn."""
