"""From rows to exported candidates: losses, the trainer, the rungs of the ladder, calibration, ONNX, INT8."""
