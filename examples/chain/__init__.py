"""A chain of flows: one publishes a dataset, Promptmill answers it, one reads the answers. Copy and change it."""
