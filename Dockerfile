FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# What changes seldom first: what it runs on, into an environment of its own. image.txt is run.txt,
# what reads Parquet files and what tells traces: 180 MB that a group on a server should not have to
# think of.
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --require-hashes --no-deps -r requirements/build.txt \
 && python -m venv --without-pip /opt/tablecast \
 && /opt/build/bin/pip --python /opt/tablecast/bin/python install --quiet \
        --require-hashes --no-deps -r requirements/image.txt

COPY pyproject.toml README.md LICENSE ./
COPY server/ server/
COPY web/ web/
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/build/bin/pip --python /opt/tablecast/bin/python install --quiet --no-deps /tmp/wheel/*.whl


FROM python:3.13-slim

COPY --from=build /opt/tablecast /opt/tablecast

ENV PATH=/opt/tablecast/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TABLECAST_HOST=0.0.0.0 \
    TABLECAST_PORT=8000

# A number, so that it can be checked that this is not root.
USER 10001:10001
WORKDIR /opt/tablecast
EXPOSE 8000
STOPSIGNAL SIGTERM

# Alive, not ready: a node that waits for Redis must not be restarted for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['TABLECAST_PORT'] + '/healthz', timeout=2)"]

ENTRYPOINT ["tablecast"]
CMD ["serve"]
