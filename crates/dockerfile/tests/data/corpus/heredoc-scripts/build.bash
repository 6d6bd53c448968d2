from debian:12-slim python
check() {
  prints 'value = 1' run "$image" cat /etc/app/one.conf
  prints 'value = 2' run "$image" cat /etc/app/two.conf
  prints 'jq-1' run "$image" jq --version
  prints 755 run "$image" stat -c %a /usr/local/bin/entrypoint
  printed ' hello$'
  printed ' built on '
}
