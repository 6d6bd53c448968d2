from tomcat:10.1-jdk17 tomcat
context() {
  base jdk
  mkdir target
  strake run --rm --network none -v "$PWD:/w" -w /w corpus/jdk jar cf target/app.war -C web .
}
check() { serves 8080 / 'from the archive'; }
