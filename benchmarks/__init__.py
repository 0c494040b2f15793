"""What Promptmill promises of its speed, each with the command that measures it (README.md)."""
