from openjdk:8-jdk-alpine jdk
context() {
  base jdk
  mkdir target
  strake run --rm --network none -v "$PWD:/w" -w /w corpus/jdk sh -c 'javac -d /tmp Main.java && jar cfe target/app-1.0.jar Main -C /tmp Main.class'
}
check() {
  prints 'heap of 64 MiB, /dev/./urandom' run -e JAVA_OPTS=-Xmx64m "$image"
  has '{{json .Config.Volumes}}' '{"/tmp":{},"/var/log/app":{}}'
  has '{{.Author}}' example.com
}
