package main

import (
	"fmt"
	"os"
)

func sum(a, b int) int { return a + b }

func main() { fmt.Printf("sum %d, uid %d\n", sum(1, 2), os.Getuid()) }
