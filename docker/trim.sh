#!/bin/sh
# Removes files from an image's environment that the server never opens: 115 of 500 MB.
# usage: trim.sh SITE_PACKAGES   (needs binutils)
set -eu
cd "$1"

# Tests, type stubs, and tools that make models.
find . -type d -name tests -prune -exec rm -rf {} +
find . -type f -name '*.pyi' -delete
rm -rf numpy/distutils numpy/f2py onnxruntime/backend onnxruntime/datasets onnxruntime/quantization \
    onnxruntime/tools onnxruntime/transformers sqlalchemy/testing

# SQLAlchemy loads a dialect when an address names it; jobs are in SQLite or PostgreSQL.
rm -rf sqlalchemy/dialects/mssql sqlalchemy/dialects/mysql sqlalchemy/dialects/oracle

# Lexers of 500 languages. Rich, which prints tracebacks, needs those of Python and of plain text.
find pygments/lexers -type f ! -name __init__.py ! -name _mapping.py ! -name python.py ! -name special.py -delete

# A second copy of ONNX Runtime, for C programs. The Python module contains its own copy.
if ! readelf --dynamic onnxruntime/capi/onnxruntime_pybind11_state*.so | grep -q 'NEEDED.*libonnxruntime\.so'; then
    rm -f onnxruntime/capi/libonnxruntime.so.*
fi

# Strip the symbols of these modules. The packagers patched the files in *.libs, so those stay unchanged.
find av sqlalchemy -name '*.so' -exec strip --strip-unneeded {} +
