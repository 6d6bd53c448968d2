from python:3.12-slim python
check() {
  serves 8000 / 'hello as app'
  has '{{.Config.User}}' app
}
