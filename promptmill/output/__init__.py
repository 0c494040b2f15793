"""What a run publishes: part files, failures, manifest; and how they are read back."""
