from tonistiigi/xx:1.5.0 xx
from rust:1.79-bookworm rust
from debian:12-slim debian
check() { prints 'crossed from /src' run "$image"; }
