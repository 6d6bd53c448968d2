from busybox:1.36 busybox
check() {
  prints '1 and' run "$image"
  has '{{json .Config.Volumes}}' '{"/data":{},"1":{}}'
  has '{{.Config.User}}' 1000:1000
  prints 'four words|ab|2 and |and more|2 or more' run "$image" sh -c 'echo "$FOUR|$LONG|$TRIM|${LEFT# }|$SWAP"'
}
