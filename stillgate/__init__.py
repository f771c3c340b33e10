"""The operator's command and the composition root; imported by nobody."""
