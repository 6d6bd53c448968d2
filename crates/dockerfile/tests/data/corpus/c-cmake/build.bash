from gcc:14 c
from gcr.io/distroless/cc debian
check() { prints 'tool: 42' run "$image"; }
