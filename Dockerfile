# Two images from one file: `docker build --target synth_node .` and `--target gateway .`
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# A package mirror is given from outside: --build-arg PIP_INDEX_URL=...
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /app
# Without pip of its own; the image's pip installs into it.
RUN python3 -m venv --without-pip .venv
COPY requirements.lock ./
RUN python3 -m pip --python .venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY nats nats
COPY antiphon antiphon
COPY synth_node synth_node
COPY gateway gateway
RUN python3 -m pip --python .venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-build-isolation --no-deps .

FROM ${PYTHON_IMAGE} AS base
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001

FROM base AS synth_node
CMD ["python", "-m", "synth_node"]

FROM base AS gateway
EXPOSE 8080
CMD ["python", "-m", "gateway"]
