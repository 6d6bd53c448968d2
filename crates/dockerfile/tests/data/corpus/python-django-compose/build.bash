from python:3.9 python
check() {
  serves 5000 / 'django says /'
  has '{{index .Config.Labels "description"}}' 'A "quoted" service'
  prints django run --entrypoint '' "$image" stat -c %U /app/app/service.py
}
