from rust:1.80-alpine3.20 rust
check() {
  prints 'tool 3: --help as 65534' run "$image"
  prints 'tool 3: go as 65534' run "$image" go
}
