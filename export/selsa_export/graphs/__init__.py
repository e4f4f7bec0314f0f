"""ONNX graphs of the two engines."""
