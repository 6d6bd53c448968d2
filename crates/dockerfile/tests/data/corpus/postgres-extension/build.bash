from postgres:15 postgres
with --build-arg PG_MAJOR=15
check() {
  prints 42 run --user postgres "$image" bash -ec '
    initdb -D /tmp/data >/dev/null
    pg_ctl -D /tmp/data -o "-k /tmp -c listen_addresses=" -w -l /tmp/log start >/dev/null
    psql -h /tmp -qAt -c "CREATE EXTENSION answer" -c "SELECT answer()" postgres
    pg_ctl -D /tmp/data stop -m fast >/dev/null'
  prints gone run "$image" sh -c "test -e /tmp/pgvector || echo gone"
}
