from golang:latest golang-gopath
check() { serves 8080 / 'hello from an old style'; }
