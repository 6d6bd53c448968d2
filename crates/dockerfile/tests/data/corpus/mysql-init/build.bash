from mysql:8.4 mysql
check() {
  local id i
  id=$(strake run -d --network none "$image")
  for i in $(seq 60); do
    strake logs "$id" 2>&1 | grep -q 'ready for connections' && break
    sleep 0.5
  done
  strake cp "$id:/var/lib/mysql/app/book.frm" - >/dev/null || { strake logs "$id" >&2; fail 'the table was not made'; }
  strake stop -t 30 "$id" >/dev/null
  strake rm -v "$id" >/dev/null
  has '{{json .Config.Healthcheck.Interval}}' 5000000000
}
