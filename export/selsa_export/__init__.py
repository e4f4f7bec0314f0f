"""From a checkpoint to a bundle: ONNX graphs, their parity with torch, and the manifest."""
