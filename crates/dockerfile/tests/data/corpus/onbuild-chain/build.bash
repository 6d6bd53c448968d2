from python:3.12-slim python
check() {
  prints 'sixes: 1.16.0' run "$image"
  prints 'a page' run "$image" cat /app/static/page.html
  has '{{json .Config.OnBuild}}' null
  has '{{.Config.User}}' 1000
}
