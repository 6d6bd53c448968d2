from node:22-slim node
check() {
  serves 8000 / 'built for 2 hours'
  prints gone run "$image" sh -c 'test -e node_modules/is-number || echo gone'
}
