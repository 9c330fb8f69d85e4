"""The checks of the exercises: a small module a chapter (c4_01 for 4.01), loaded by `check.exercise`."""
