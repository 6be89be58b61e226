# CPU:  docker build -t sixfold .
# GPU:  docker build -t sixfold:gpu --build-arg EXTRAS='[gpu]' .      run it with --gpus all
# Use:  docker run --rm -v "$PWD:/workspace" --user "$(id -u):$(id -g)" sixfold run image-classification --data photos/
ARG BASE=python:3.12-slim
FROM ${BASE}

ARG EXTRAS=""
WORKDIR /opt/sixfold
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipelines pipelines
COPY tasks tasks
RUN pip install --no-cache-dir -c constraints.txt ".${EXTRAS}"

# Any user id may run it: the home, where caches go, is writable by all, and so is /workspace until something is mounted there.
RUN useradd --uid 1000 --create-home sixfold \
    && mkdir /workspace \
    && chmod 1777 /home/sixfold /workspace
ENV HOME=/home/sixfold
USER 1000
WORKDIR /workspace
VOLUME /workspace

ENTRYPOINT ["sixfold"]
CMD ["--help"]
