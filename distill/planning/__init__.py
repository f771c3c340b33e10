"""What can be known before anything is spent: the ceiling, the rows that a bar needs, and how far this data goes."""
