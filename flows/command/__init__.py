"""The `promptmill` command: arguments, tables, what a person sees."""
