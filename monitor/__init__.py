"""Measures: folds pairs into sums per slice, judges them, raises alarms and opens distillation jobs."""
