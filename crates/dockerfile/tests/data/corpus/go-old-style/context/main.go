package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"

	"github.com/example/app/greet"
)

func main() {
	port := flag.Int("port", 80, "port to listen at")
	flag.Parse()
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, greet.Hello()) })
	log.Fatal(http.ListenAndServe(fmt.Sprintf(":%d", *port), nil))
}
