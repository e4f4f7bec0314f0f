# The server on NVIDIA GPUs: ONNX Runtime with CUDA, and TensorRT, on a CUDA 13 runtime.
#
#   docker build -f docker/server.gpu.Dockerfile -t selsa-server:gpu .
#   docker run --rm --gpus all --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 selsa-server:gpu
#
# BASE is a Debian or Ubuntu image that packages Python 3.11 or newer. To run on a GPU it must have CUDA and cuDNN.
# --build-arg LOCK=server-gpu-cluster builds the image for Ray and shared jobs.
ARG BASE=nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04
ARG LOCK=server-gpu

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

FROM ${BASE} AS python
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*

FROM python AS installed
RUN apt-get update && apt-get install -y --no-install-recommends binutils python3-pip && rm -rf /var/lib/apt/lists/*
ARG LOCK
COPY docker/locks/server-gpu.txt docker/locks/server-gpu-cluster.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/selsa \
    && python3 -m pip --python /opt/selsa/bin/python install --disable-pip-version-check --root-user-action=ignore \
        --require-hashes --only-binary=:all: -r /locks/${LOCK}.txt
# TensorRT's libraries are only in NVIDIA's own index. Their package on PyPI downloads them from there while it is
# built, in the version of the locked bindings, but without a hash from docker/locks. TENSORRT_INDEX names another
# index with the wheels. TENSORRT=no leaves TensorRT out; the image then runs with CUDA only.
ARG TENSORRT=yes
ARG TENSORRT_INDEX=
RUN --mount=type=cache,target=/root/.cache/pip \
    case "${TENSORRT}" in \
        no) exit 0 ;; \
        yes) ;; \
        *) echo "TENSORRT is '${TENSORRT}'; allowed are yes and no"; exit 1 ;; \
    esac \
    && version=$(sed -n 's/^tensorrt-cu13-bindings==\([0-9.]*\).*/\1/p' /locks/${LOCK}.txt) \
    && python3 -m pip --python /opt/selsa/bin/python install --disable-pip-version-check --root-user-action=ignore \
        --no-deps ${TENSORRT_INDEX:+--extra-index-url "${TENSORRT_INDEX}"} \
        "tensorrt-cu13-libs==${version}" "tensorrt-cu13==${version}" \
    # Library that builds engines for Windows.
    && find /opt/selsa -name 'libnvinfer_builder_resource_win*' -delete
COPY docker/trim.sh /build/
RUN sh /build/trim.sh /opt/selsa/lib/python3*/site-packages
COPY --from=wheel /wheel /wheel
RUN python3 -m pip --python /opt/selsa/bin/python install --disable-pip-version-check --root-user-action=ignore \
        --no-index --no-deps /wheel/*.whl
COPY docker/ready.py docker/warm.py /build/
RUN ORT_DISABLE_TELEMETRY=1 /opt/selsa/bin/python /build/warm.py

FROM python
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="selsa server (GPU)" \
      org.opencontainers.image.description="Whole-sequence video object detection over HTTP, on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The user id is fixed, so that files outside the container can be owned by it.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin selsa \
    && install -d -o selsa -g selsa -m 0750 /var/lib/selsa/models /var/lib/selsa/spool \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=installed /opt/selsa /opt/selsa
COPY docker/ready.py /opt/selsa/ready.py
# KubeRay starts `ray` in a login shell, which sets another PATH.
RUN if [ -x /opt/selsa/bin/ray ]; then ln -s /opt/selsa/bin/ray /opt/selsa/bin/serve /usr/local/bin/; fi

# ONNX Runtime sends telemetry for every model that it loads, unless it is disabled. Its TensorRT provider, used for
# bundles without native graphs, also caches compiled engines.
ENV LANG=C.UTF-8 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    NVIDIA_VISIBLE_DEVICES=all \
    ORT_DISABLE_TELEMETRY=1 \
    ORT_TENSORRT_CACHE_PATH=/var/lib/selsa/models/engines \
    ORT_TENSORRT_ENGINE_CACHE_ENABLE=1 \
    PATH=/opt/selsa/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SELSA_ENGINE_CACHE=/var/lib/selsa/models/engines \
    SELSA_HOST=0.0.0.0 \
    SELSA_JOBS_DIR=/var/lib/selsa/spool/jobs \
    SELSA_SPOOL_DIR=/var/lib/selsa/spool
# Volumes: bundles and compiled engines; uploads and jobs. All other writes go to /tmp.
VOLUME ["/var/lib/selsa/models", "/var/lib/selsa/spool"]
USER 10001:10001
EXPOSE 8000
# The first start builds engines, which takes many minutes for a large model.
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=30m --start-interval=2s \
    CMD ["python", "-I", "-S", "/opt/selsa/ready.py"]
ENTRYPOINT ["selsa"]
CMD ["serve"]
