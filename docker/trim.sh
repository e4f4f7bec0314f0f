#!/bin/sh
# Takes out of an image's environment what serving never opens: 100 of 480 MB.
# usage: trim.sh SITE_PACKAGES   (needs binutils)
set -eu
cd "$1"

# Tests, stubs, and tools for making models.
find . -type d -name tests -prune -exec rm -rf {} +
find . -type f -name '*.pyi' -delete
rm -rf numpy/distutils numpy/f2py onnxruntime/backend onnxruntime/datasets onnxruntime/quantization \
    onnxruntime/tools onnxruntime/transformers

# ONNX Runtime a second time, for programs in C: Python's module has its own inside.
if ! readelf --dynamic onnxruntime/capi/onnxruntime_pybind11_state*.so | grep -q 'NEEDED.*libonnxruntime\.so'; then
    rm -f onnxruntime/capi/libonnxruntime.so.*
fi

# PyAV's modules come with their symbols. What is in *.libs was patched by its packagers and stays as it is.
find av -name '*.so' -exec strip --strip-unneeded {} +
