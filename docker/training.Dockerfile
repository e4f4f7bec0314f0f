# Training, evaluation and export: PyTorch with its own CUDA libraries.
#
#   docker build -f docker/training.Dockerfile -t selsa-training .
#   docker run --rm --gpus all --shm-size 8g -v /data:/data:ro -v "$PWD/runs:/runs" selsa-training \
#       selsa train r50-dc5 --data /data/ILSVRC2015 -o /runs/r50
#
# There is no entry point, because both `torchrun` and `selsa` are used.
ARG BASE=python:3.11-slim

FROM python:3.11-slim AS wheel
COPY docker/locks/build.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /build \
    && /build/bin/pip install --disable-pip-version-check --require-hashes --only-binary=:all: -r /locks/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY export export
COPY server server
COPY training training
RUN /build/bin/python -m hatchling build -t wheel -d /wheel

FROM ${BASE} AS installed
COPY docker/locks/training.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/selsa \
    && pip --python /opt/selsa/bin/python install --disable-pip-version-check --root-user-action=ignore \
        --require-hashes --only-binary=:all: -r /locks/training.txt
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/selsa/bin/python install --disable-pip-version-check --root-user-action=ignore \
        --no-index --no-deps /wheel/*.whl

FROM ${BASE}
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="selsa training" \
      org.opencontainers.image.description="Training, evaluation and export of SELSA detectors" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The user id is fixed, so that files outside the container can be owned by it.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin selsa \
    && install -d -o selsa -g selsa -m 0750 /runs /var/lib/selsa/cache /var/lib/selsa/models
COPY --from=installed /opt/selsa /opt/selsa

# timm's downloads are kept in a volume. ONNX Runtime sends telemetry for every loaded model, unless it is disabled.
ENV HF_HOME=/var/lib/selsa/cache/huggingface \
    HOME=/tmp \
    LANG=C.UTF-8 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/selsa/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TORCH_HOME=/var/lib/selsa/cache/torch
VOLUME ["/runs", "/var/lib/selsa/cache", "/var/lib/selsa/models"]
WORKDIR /runs
USER 10001:10001
# Training listens on no port, so there is no health check.
HEALTHCHECK NONE
CMD ["selsa", "--help"]
