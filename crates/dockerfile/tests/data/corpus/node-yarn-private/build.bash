from node:18 node
with --build-arg NPM_TOKEN=a-token-of-the-corpus
check() {
  serves 3000 / 'yarn: 3s'
}
