package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

var version = "unknown"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "server %s, uid %d\n", version, os.Getuid())
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
