#!/bin/sh
set -e
exec /gunicorn.sh
