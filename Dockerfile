# The app for a server, trained on its CPU. Its runs are kept in /runs.
#   docker build -t rnnviz .
#   docker run -p 8501:8501 -v rnnviz:/runs -e RNNVIZ_HOSTED=1 -e RNNVIZ_WORKERS=4 rnnviz
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md requirements.txt requirements.lock app.py ./
COPY .streamlit .streamlit
COPY data data
COPY pages pages
COPY rnnviz rnnviz
# torch from PyTorch's own index: PyPI's build brings the packages of CUDA.
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /venv/bin/pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu "$(grep ^torch== requirements.txt)" \
 && /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
COPY --from=build /venv /venv
RUN useradd --uid 1000 --create-home rnnviz && install --directory --owner=rnnviz /runs
USER 1000
ENV RNNVIZ_HOME=/runs
VOLUME /runs
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["/venv/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
CMD ["/venv/bin/rnnviz", "app", "--address", "0.0.0.0", "--port", "8501", "--no-browser"]
