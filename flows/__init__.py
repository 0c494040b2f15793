"""What happens: one flow a file."""
