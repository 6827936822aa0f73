# Three images: `runtime`, `dev`, which is runtime with the simulator of Spotify beside it, and
# `simulator`, which is dev, starting that.
# Any image with Python 3.11 or newer and Debian's apt will do as the base.
# No RUN --mount and no here-documents: hosts that build by themselves may lack BuildKit.
ARG PYTHON_VERSION=3.13
ARG PYTHON_IMAGE=docker.io/library/python:${PYTHON_VERSION}-slim-trixie

FROM ${PYTHON_IMAGE} AS build
# The base's newest is right for a tool that leaves nothing behind.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/
# What goes again is never loaded: Litestar's command line and its made-up examples (19 MB),
# symbols for debuggers (23 MB), and what extensions were compiled from.
RUN python3 -m venv --without-pip /opt/venv \
 && python3 -m pip --python /opt/venv install --no-cache-dir --no-compile --no-deps \
      --only-binary :all: --require-hashes --requirement /tmp/requirements.txt \
 && python3 -m pip --python /opt/venv uninstall --yes \
      faker markdown-it-py mdurl polyfactory pygments rich rich-click \
 && find /opt/venv -type f -name '*.so*' -exec strip --strip-unneeded {} + \
 && find /opt/venv -type f -regex '.*\.\(c\|h\|proto\|pxd\|pyi\|pyx\)' -delete
# Parts of packages that no other part needs (3 MB): cffi's compiler, Google's own services, gRPC's
# old interfaces, commands of Valkey's modules, what tests are written with, names of metrics that
# nobody here measures, and extensions for what is never asked of their package, which has the same
# in Python. gRPC's roots of trust are certifi's, which are there already. An update that moves one
# of these fails the build.
# hadolint ignore=DL3003
RUN cd /opt/venv/lib/python3*/site-packages \
 && rm -r cffi pycparser google/api google/cloud google/gapic google/logging google/longrunning \
      google/type grpc/beta grpc/framework litestar/cli litestar/testing \
      valkey/commands/bf valkey/commands/graph valkey/commands/json valkey/commands/search \
      valkey/commands/timeseries \
 && rm -f charset_normalizer/*.so multidict/_testcapi.*.so yaml/_yaml.*.so \
 && find opentelemetry/semconv/_incubating/metrics -name '*_metrics.py' ! -name otel_metrics.py \
      -delete \
 && ln -sf ../../../certifi/cacert.pem grpc/_cython/_credentials/roots.pem

FROM ${PYTHON_IMAGE} AS service
# Nothing can be installed in it: the base's pip goes, and what could bring it back.
RUN find / -xdev '(' -name ensurepip -o -name pip -o -name 'pip[0-9-]*' ')' -prune \
      -exec rm -r {} +
COPY --from=build /opt/venv /opt/venv
COPY service /app/service
WORKDIR /app
# These stand before a RUN because buildah would take a LABEL from its cache whatever they are.
ARG PYTHON_IMAGE
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE
# Bytecode, which user 10001 couldn't write: of what is imported, in Python's own library too (the
# official image has none), for all of it would weigh more than the service. Exporters and
# the rate limit import the most when they are made.
RUN ["/opt/venv/bin/python", "-X", "no_debug_ranges", "-c", \
     "import service.cli, service.app, service.server; \
      from service import app, settings; \
      app.create_app(settings.load(dict(CLIENT_ID='a', CLIENT_SECRET='b', SECRET_KEY='c', \
        RATE_LIMIT='1/day', RATE_LIMIT_STORAGE='redis://a'))); \
      from service.export import provider; \
      provider({'OTEL_EXPORTER_OTLP_PROTOCOL': 'grpc'}, ''); provider({}, '')"]
ENV HOST=0.0.0.0 PORT=8080
EXPOSE 8080 9464
USER 10001:10001
ENTRYPOINT ["/opt/venv/bin/python", "-m", "service"]
# Hosts that insist on a command (Heroku) take this one; any other replaces it: check, keys, --help.
CMD ["serve"]
LABEL org.opencontainers.image.title="spotify-api-server" \
      org.opencontainers.image.description="Token-swap backend that keeps a Spotify app's client secret off its users' devices" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
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
