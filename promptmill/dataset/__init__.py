"""Rows in: files found, read and parsed."""
