from golang:1.22-alpine golang
from golangci/golangci-lint:v1.59 debian
from alpine:3.20 alpine
check() {
  prints 'sum 3, uid 10001' run "$image"
  build "$dir" --target coverage -o "$WORK/coverage" >"$log/$case.coverage" 2>&1 || { tail "$log/$case.coverage"; fail 'the target coverage'; }
  grep -q 'app/main.go' "$WORK/coverage/coverage.txt" || fail 'no coverage was written'
}
