# The server on CPUs: ONNX Runtime, without PyTorch and without a compiler, at most 600 MB.
#
#   docker build -f docker/server.cpu.Dockerfile -t selsa-server:cpu .
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 selsa-server:cpu
#
# All packages are installed with the hashes of docker/locks/, which `make lock` makes from pyproject.toml.
# --build-arg LOCK=server-cluster builds the image for Ray and shared jobs, which is larger.
ARG BASE=python:3.11-slim
ARG LOCK=server-cpu

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
RUN apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
ARG LOCK
COPY docker/locks/server-cpu.txt docker/locks/server-cluster.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/selsa \
    && pip --python /opt/selsa/bin/python install --disable-pip-version-check --root-user-action=ignore \
        --no-compile --require-hashes --only-binary=:all: -r /locks/${LOCK}.txt
COPY docker/trim.sh /build/
RUN sh /build/trim.sh /opt/selsa/lib/python3*/site-packages
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/selsa/bin/python install --disable-pip-version-check --root-user-action=ignore \
        --no-compile --no-index --no-deps /wheel/*.whl
COPY docker/ready.py docker/warm.py /build/
RUN ORT_DISABLE_TELEMETRY=1 /opt/selsa/bin/python /build/warm.py

# This stage is copied as one layer, so that files removed here take no space in the image.
FROM ${BASE} AS root
# The user id is fixed, so that files outside the container can be owned by it.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin selsa \
    && install -d -o selsa -g selsa -m 0750 /var/lib/selsa/models /var/lib/selsa/spool \
    && rm -rf /usr/local/bin/idle* /usr/local/bin/pip* /usr/local/bin/wheel /usr/local/lib/python3*/ensurepip \
        /usr/local/lib/python3*/idlelib /usr/local/lib/python3*/lib2to3 /usr/local/lib/python3*/site-packages/* \
        /usr/share/doc /usr/share/locale /usr/share/man /var/lib/apt/lists/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=installed /opt/selsa /opt/selsa
COPY docker/ready.py /opt/selsa/ready.py
# KubeRay starts `ray` in a login shell, which sets another PATH.
RUN if [ -x /opt/selsa/bin/ray ]; then ln -s /opt/selsa/bin/ray /opt/selsa/bin/serve /usr/local/bin/; fi

FROM scratch
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="selsa server (CPU)" \
      org.opencontainers.image.description="Whole-sequence video object detection over HTTP, on CPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=root / /
# ONNX Runtime sends telemetry for every model that it loads, unless it is disabled.
ENV LANG=C.UTF-8 \
    ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/selsa/bin:/usr/local/bin:/usr/bin:/bin \
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
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=60s --start-interval=1s \
    CMD ["python", "-I", "-S", "/opt/selsa/ready.py"]
ENTRYPOINT ["selsa"]
CMD ["serve"]
