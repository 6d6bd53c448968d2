from eclipse-temurin:21 jdk
from debian:bookworm-slim debian
context() {
  base jdk
  strake run --rm --network none -v "$PWD:/w" -w /w corpus/jdk sh -c 'javac -d /tmp Main.java && jar cfe japp.jar Main -C /tmp Main.class'
}
check() { prints 'Java 17 with 2 modules' run "$image"; }
