"""Everything that is known of a run before a request is paid for."""
