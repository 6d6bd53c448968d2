from node:20-alpine node
check() {
  serves 3000 / 'served after 2 days, uid 1001'
  has '{{.Config.User}}' nextjs
  prints 'nextjs nodejs' run "$image" stat -c '%U %G' server.js
  prints 'root root' run "$image" stat -c '%U %G' public/robots.txt
}
