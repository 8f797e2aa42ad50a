// Command spiffe-helper-shim starts a program of today with the command line of spiffe-helper before 0.8:
//
//	spiffe-helper-shim PROGRAM [ARGUMENT…]
//
// The charts 0.17 to 0.23 run a spiffe-helper of January 2024. Since 0.8 its option -exitWhenReady is called -daemon-mode
// and means the opposite. The keys of its configuration that those charts set are the same today.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: spiffe-helper-shim PROGRAM [ARGUMENT…]")
		os.Exit(2)
	}
	program := os.Args[1]
	arguments := append([]string{program}, translate(os.Args[2:])...)
	// The program takes the process's place, so that the kubelet's signals reach it and its exit code is the container's.
	err := syscall.Exec(program, arguments, os.Environ())
	fmt.Fprintf(os.Stderr, "%s cannot be started: %v\n", program, err)
	os.Exit(1)
}

// translate returns the arguments with -exitWhenReady as -daemon-mode, in any spelling that Go's flag package accepts.
// Every other argument, and one whose value is not a boolean, is left to the program to accept or to refuse.
func translate(arguments []string) []string {
	translated := make([]string, 0, len(arguments))
	for _, argument := range arguments {
		name, value, hasValue := strings.Cut(argument, "=")
		if name == "-exitWhenReady" || name == "--exitWhenReady" {
			exits, err := strconv.ParseBool(value)
			switch {
			case !hasValue:
				argument = "-daemon-mode=false"
			case err == nil:
				argument = "-daemon-mode=" + strconv.FormatBool(!exits)
			}
		}
		translated = append(translated, argument)
	}
	return translated
}
