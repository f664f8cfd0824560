# streamtag as one small image: `docker build -t streamtag .`, then `docker run streamtag tagger`, `… doctor`, …
# Runs as an ordinary user; writes to /var/lib/streamtag only (a volume), so the rest may be read-only.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Dependencies first: this layer changes only when they do.
COPY requirements/image.txt requirements/image.txt
RUN python -m venv --without-pip /opt/streamtag \
 && pip --python /opt/streamtag/bin/python install --require-hashes -r requirements/image.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY ops/kafka/pom.xml ops/kafka/pom.xml
COPY topics topics
COPY streamtag streamtag
RUN pip --python /opt/streamtag/bin/python install --no-deps --no-build-isolation .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/streamtag streamtag \
 && install -d -o streamtag -g streamtag /var/lib/streamtag
COPY --from=build /opt/streamtag /opt/streamtag
COPY LICENSE NOTICE /usr/share/doc/streamtag/
ENV PATH=/opt/streamtag/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMTAG_STATE_DIR=/var/lib/streamtag
USER 10001:10001
WORKDIR /var/lib/streamtag
VOLUME /var/lib/streamtag
ENTRYPOINT ["streamtag"]
CMD ["--help"]
