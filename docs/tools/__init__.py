"""What makes the site and the pictures of the documentation, from the pages of the repository and from real runs."""
