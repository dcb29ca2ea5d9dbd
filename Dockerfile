# syntax=docker/dockerfile:1
# Two images, both from the hashed locks in requirements/:
#   docker build --target gateway -t onereel:0.1.0 .
#   docker build --target worker -t onereel-worker:0.1.0 .
# TORCH_INDEX chooses another build of torch, as in `make install`.
ARG PYTHON=3.11-slim-bookworm

# The package itself, built with what only a build needs.
FROM python:${PYTHON} AS wheel
WORKDIR /src
COPY requirements/build.txt requirements/
RUN pip --disable-pip-version-check install -q --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY billing billing
COPY gateway gateway
COPY local_backend local_backend
COPY migrations migrations
COPY providers providers
RUN pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:${PYTHON} AS gateway-packages
RUN python -m venv --without-pip /opt/onereel
ENV PIP_PYTHON=/opt/onereel/bin/python PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/gateway.txt requirements/
RUN pip install -q --only-binary :all: --no-deps --require-hashes -r requirements/gateway.txt
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install -q --no-deps --no-index /wheels/*.whl

FROM python:${PYTHON} AS worker-packages
ARG TORCH_INDEX=
RUN python -m venv --without-pip /opt/onereel
ENV PIP_PYTHON=/opt/onereel/bin/python PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/torch.txt requirements/local.txt requirements/
RUN pip install -q ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} -r requirements/torch.txt
RUN pip install -q --only-binary :all: --no-deps --require-hashes -r requirements/local.txt
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install -q --no-deps --no-index /wheels/*.whl

# What both images run in: no compiler, nobody's rights, nothing that has to be written but /data, /models and /tmp.
FROM python:${PYTHON} AS base
RUN groupadd --gid 10001 onereel \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin onereel \
    && install -d -o 10001 -g 10001 /data /models
ENV PATH=/opt/onereel/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ONEREEL_HOST=0.0.0.0 \
    ONEREEL_PORT=8080 \
    ONEREEL_DATA_DIR=/data \
    ONEREEL_LOCAL__MODELS_DIR=/models
WORKDIR /data
USER 10001:10001
# `onereel` handles SIGTERM and waits for its own children, so it can be process 1.
STOPSIGNAL SIGTERM

FROM base AS worker
COPY --from=worker-packages /opt/onereel /opt/onereel
EXPOSE 9100
HEALTHCHECK --interval=15s --timeout=10s --start-period=600s --retries=8 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('WORKER_PORT', '9100') + '/health', timeout=8)"]
CMD ["onereel", "worker", "--host", "0.0.0.0", "--port", "9100", "--device", "cuda", "--models-dir", "/models"]

FROM base AS gateway
COPY --from=gateway-packages /opt/onereel /opt/onereel
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('ONEREEL_PORT', '8080') + '/health/live', timeout=4)"]
CMD ["onereel", "serve"]
