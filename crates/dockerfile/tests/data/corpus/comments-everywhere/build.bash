from alpine:3.20 alpine
check() {
  has '{{json .Config.Labels}}' '{"a":"1","b":"two words","c":"single $QUOTES"}'
  run "$image"
}
