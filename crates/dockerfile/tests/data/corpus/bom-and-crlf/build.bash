from alpine:3.20 alpine
check() {
  has '{{.Config.User}}' 1000
  prints 6c696e650d0a run "$image" sh -c 'od -An -tx1 /x | tr -d " "'
}
