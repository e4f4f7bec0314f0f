#!/bin/sh
# The same Parquet file has other values in other readers: fastparquet reads lists of records as nothing.
#
# Ground: formats
# Versions: written by pyarrow 26.0.1; read by pyarrow, polars 2.1.0, duckdb 2.0.1, fastparquet 2026.9.0.
# Behaviour: a column of a list of records per row (detections per frame) is None in every row in fastparquet;
# a float16 column is two raw bytes per value there. A duration loses its unit in fastparquet and duckdb and
# becomes a whole number; a fixed-size list of four becomes a list of lists in fastparquet. No reader raises
# or warns.
# Seen, first row of detections [{score: 0.5}]: pyarrow, polars, duckdb: that; fastparquet: None. float16 1.0:
# fastparquet b"\x00<".
# A good guess is wrong because Parquet has one specification, and an unsupported type is expected to be an
# error.
# Product: `selsa batch --format parquet` writes flat columns, a row per detection
# (server/selsa_server/batch/output.py,
# tests/cluster/test_batch_files.py::test_parquet_has_a_row_for_each_detection_and_for_each_frame_without_one).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check \
    pyarrow==26.0.1 fastparquet==2026.9.0 polars==2.1.0 duckdb==2.0.1
"$env/bin/python" - <<'PY'
import datetime

import duckdb
import fastparquet
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet

columns = {
    "detections": pa.array([[{"score": 0.5}], []], pa.list_(pa.struct([("score", pa.float32())]))),
    "half": pa.array(np.array([1, 2], np.float16)),
    "elapsed": pa.array([1_000_000, 2_000_000], pa.duration("us")),
    "score": pa.array([0.5, 0.25]),
}
found = {}
for name, column in columns.items():
    pyarrow.parquet.write_table(pa.table({name: column}), "one.parquet")
    found[name] = {
        "pyarrow": pyarrow.parquet.read_table("one.parquet").column(0).to_pylist()[0],
        "polars": polars.read_parquet("one.parquet")[name].to_list()[0],
        "duckdb": duckdb.sql("select * from 'one.parquet'").fetchall()[0][0],
        "fastparquet": fastparquet.ParquetFile("one.parquet").to_pandas().iloc[0, 0],
    }
    print(name, found[name])
second = datetime.timedelta(seconds=1)
assert [found["detections"][r] for r in ("pyarrow", "polars", "duckdb")] == [[{"score": 0.5}]] * 3
assert found["detections"]["fastparquet"] is None
assert [found["half"][r] for r in ("pyarrow", "polars", "duckdb")] == [1, 1, 1]
assert found["half"]["fastparquet"] == b"\x00<"
assert [found["elapsed"][r] for r in ("pyarrow", "polars")] == [second, second]
assert [found["elapsed"][r] for r in ("duckdb", "fastparquet")] == [1_000_000, 1_000_000]
assert set(found["score"].values()) == {0.5}
PY
