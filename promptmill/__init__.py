"""Promptmill: run a language model over every row of a dataset."""
