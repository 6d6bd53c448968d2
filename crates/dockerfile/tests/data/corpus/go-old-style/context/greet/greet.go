package greet

func Hello() string { return "hello from an old style" }
