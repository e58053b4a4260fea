"""Studies of the whole: how fast it is, what each part is good for, how it compares."""
