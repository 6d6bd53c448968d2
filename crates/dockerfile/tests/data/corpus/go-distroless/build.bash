from golang:1.23-bookworm golang
from gcr.io/distroless/static-debian12:nonroot static
with --build-arg VERSION=1.2.3
check() {
  serves 8080 / 'server 1.2.3, uid 65532'
  has '{{json .Config.ExposedPorts}}' '{"8080/tcp":{}}'
}
