"""The sections of the page, each drawn from the report alone."""
