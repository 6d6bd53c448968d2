from node:20 node
from nginx:1.27-alpine nginx
check() {
  serves 80 / 'a page of 10m'
  serves 80 /no/such/path 'a page of 10m'
  has '{{.Config.StopSignal}}' SIGQUIT
}
