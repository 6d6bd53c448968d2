from node:22-alpine3.20 node
from alpine:3.20 alpine
check() {
  local target
  prints 'the site' run "$image" cat /docs/index.md
  for target in api worker; do
    build "$dir" --target "$target" -t "$image-$target" >"$log/$case.$target" 2>&1 || { tail -30 "$log/$case.$target" >&2; fail "target $target"; }
  done
  prints 'the api after 5m as node' run "$image-api"
  prints gone run "$image-api" sh -c 'find packages -name "*.test.js" | grep . || echo gone'
  prints 'package.json' run "$image-api" ls packages/worker
  image=$image-worker has '{{json .Config.Cmd}}' '["/bin/sh","-c","npm run --workspace worker start"]'
}
