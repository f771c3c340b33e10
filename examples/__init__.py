"""Examples that run against the installed product as a user would."""
