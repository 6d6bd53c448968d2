secret=$(mktemp)
trap "rm -f $secret" EXIT
printf 'fund=false\n//registry.example.com/:_authToken=a-token-of-the-corpus\n' >"$secret"
from node:20-bookworm-slim node
with --secret "id=npmrc,src=$secret"
check() {
  prints '1m as node' run "$image"
  prints 'node node' run "$image" stat -c '%U %G' node_modules/ms/package.json
  prints none run "$image" sh -c 'ls -A /root/.npmrc 2>/dev/null || echo none'
  has '{{json .Config.Healthcheck.Test}}' '["CMD","node","healthcheck.js"]'
}
