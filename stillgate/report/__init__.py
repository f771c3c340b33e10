"""`stillgate report`: one task over a stretch of time, as a page that needs nothing else and as JSON.

The document is made of what lies in the data directory, read-only; the page is made of the document alone.
"""
