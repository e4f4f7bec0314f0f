"""The bundle format, and the runtimes that run a bundle. All other packages build on this one.

A *bundle* is a folder with `manifest.json`, a frame engine and a sequence engine (ONNX). This package
describes it, checks it, prepares frames for it and runs it. It never imports torch. Only the runtimes import
onnxruntime, so that training needs no runtime.
"""

import os

# ONNX Runtime (1.29 and later) sends telemetry about the models that it loads unless this is set before its
# import. Set the variable to 0 to send it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
