python3 -m http.server --bind 127.0.0.1 8080 >/dev/null 2>&1 &
trap "kill $!" EXIT
from debian:12 offline
check() {
  prints '/work' run "$image" pwd
  prints nobody run "$image" id -un
  has '{{json .Config.Cmd}}' null
}
