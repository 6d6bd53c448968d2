# Sourced by the examples' run scripts: finds or builds strake, installs what is missing on Debian.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[1]}")"
top=$(cd ../.. && pwd)

# install COMMAND PACKAGE...: installs the packages where COMMAND is missing.
install() {
  command -v "$1" >/dev/null 2>&1 && return
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${@:2}"
}

install gcc gcc libc6-dev >&2
install newuidmap uidmap >&2
if [ -z "${STRAKE:-}" ]; then
  (cd "$top" && cargo build --release --locked --quiet --bin strake) >&2
  STRAKE=$top/target/release/strake
fi

# debian_base: an image debian:bookworm made from Debian's packages, once.
debian_base() {
  "$STRAKE" inspect --type image debian:bookworm >/dev/null 2>&1 && return
  install mmdebstrap mmdebstrap >&2
  echo "making the base image debian:bookworm with mmdebstrap" >&2
  mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm - \
    | "$STRAKE" import -c 'CMD ["bash"]' - debian:bookworm >/dev/null
}
