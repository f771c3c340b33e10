"""Serves: the data plane that answers callers, asks the teacher, shadows the student and records."""
