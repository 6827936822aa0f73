# Three images: `runtime` (the last stage, so the default), `dev`, which adds the simulator of
# Spotify, and `simulator`, which is dev and starts it.
#
# The base can be any image with Python 3.11 or newer, venv and pip. Python 3.14 is the newest for
# which every locked dependency has wheels, for x86_64 and for aarch64. To pin the base, write `@` and
# the digest of `docker buildx imagetools inspect python:3.14-slim-trixie` into PYTHON_DIGEST
# (`@sha256:…`), here or by --build-arg. No other substitution: skaffold could not read it.
# No RUN --mount and no here-documents: the builders of some hosts lack BuildKit.
ARG PYTHON_IMAGE=docker.io/library/python:3.14-slim-trixie
ARG PYTHON_DIGEST=

FROM ${PYTHON_IMAGE}${PYTHON_DIGEST} AS build
COPY requirements.txt /tmp/
RUN python3 -m venv --without-pip /opt/venv \
 && python3 -m pip --python /opt/venv install --no-cache-dir --no-compile --no-deps \
      --only-binary :all: --require-hashes --requirement /tmp/requirements.txt
# Bytecode carries no time and is not compared with its source: it is the same in each build, and
# user 10001 could not write it. Likewise for the standard library and the service below.
# faker (25 MB) comes with Litestar's tools for tests and is never imported.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash -x /faker/ /opt/venv

FROM ${PYTHON_IMAGE}${PYTHON_DIGEST} AS service
# The official image has no bytecode of the standard library.
RUN python3 -m compileall -qf --invalidation-mode unchecked-hash -x '/(site|dist)-packages/' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/venv /opt/venv
COPY service /app/service
WORKDIR /app
# These precede a RUN, because buildah caches a LABEL regardless of its arguments.
ARG PYTHON_IMAGE
ARG PYTHON_DIGEST
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash service
ENV HOST=0.0.0.0 PORT=8080
EXPOSE 8080 9464
USER 10001:10001
ENTRYPOINT ["/opt/venv/bin/python", "-m", "service"]
# The default command, which arguments replace. Heroku needs one.
CMD ["serve"]
LABEL org.opencontainers.image.title="spotify-api-server" \
      org.opencontainers.image.description="Token-swap backend that keeps a Spotify app's client secret off its users' devices" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}${PYTHON_DIGEST}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"

FROM service AS dev
COPY simulator /app/simulator

# For where a container's entry point can't be chosen with arguments: services in GitHub Actions.
FROM dev AS simulator
ENV SIMULATOR_HOST=0.0.0.0
EXPOSE 7001
ENTRYPOINT ["/opt/venv/bin/python", "-m", "simulator"]
CMD []
LABEL org.opencontainers.image.title="spotify-api-server-simulator" \
      org.opencontainers.image.description="A stand-in for accounts.spotify.com, for an app's own tests"

FROM service AS runtime
