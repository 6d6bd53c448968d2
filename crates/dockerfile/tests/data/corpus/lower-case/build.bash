from ubuntu:24.04 c
with --build-arg VERSION=7.1
check() { prints 'hello 7.1' run "$image"; }
