from python:3.12-slim-bookworm python
from ghcr.io/astral-sh/uv:0.4.0 uv
check() { prints 'a service with six 1.16.0' run "$image"; }
