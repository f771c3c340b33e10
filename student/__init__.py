"""Answers: verified artifacts in ONNX Runtime behind a bounded queue, in a process of their own."""
