"""A run that several processes answer together."""
