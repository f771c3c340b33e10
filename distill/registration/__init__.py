"""The last door and what lies behind it: a student's folder, its card, its signature, and who may come in."""
