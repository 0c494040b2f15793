"""The demo: a real job over real text with a real model on this machine."""
