"""What is answered and what may have been spent, beside the output."""
