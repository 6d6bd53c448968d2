from debian:bookworm-slim debian
check() {
  has '{{.Config.StopSignal}}' SIGWINCH
  serves 80 / 'Apache2 Debian Default Page'
}
