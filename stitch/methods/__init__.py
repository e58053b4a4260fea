"""Ways to edit a face in a clip: this one, and those that studies compare it with."""
