"""What a run publishes: parts, failures, report and manifest; and how they are read back.

This room promises that an output with a manifest is complete, and that a reader of the plain folder never sees fewer rows
than a version has: parts are uploaded unseen, become visible together, and old ones go after the manifest (publishing.py).
It removes only parts that a manifest of ours, or `_publishing.json`, lists; every later command finishes that cleaning.
Nothing written here holds a password or a signature of a URL.
Watch out: a manifest is an input. Check what it names before you read or remove anything by it.
"""
