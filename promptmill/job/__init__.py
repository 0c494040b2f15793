"""What a user asks for: the job file, its values and the identities that follow from them."""
