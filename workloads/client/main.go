// Command client is the demo's client. It calls the server over TLS, makes sure of the server's SPIFFE ID, and
// authenticates itself with a JWT-SVID.
//
//	client          one request, as in the tutorial; exits 0 when the server answered 200
//	client traffic  requests on a steady schedule until SIGTERM, one line of JSON for each
//	client fetch    what the Workload API hands out now, as one line of JSON
//	client validate whose a JWT-SVID is, in the judgement of the Workload API
//	client endpoint what a bundle endpoint, or any other of JSON, presents and serves, as one line of JSON; needs no identity
//	client idle     nothing until SIGTERM: a pod in which the other commands are executed
//
// Settings come from the environment, and from arguments of the form NAME=VALUE, which a command that is executed in a
// running pod is given instead.
//
// It follows go-spiffe's example: https://github.com/spiffe/go-spiffe/tree/main/examples/spiffe-jwt/client
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	command, err := readArguments(os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	switch command {
	case "":
		err = runJob(ctx)
	case "traffic":
		err = runTraffic(ctx)
	case "fetch":
		err = runFetch(ctx)
	case "validate":
		err = runValidate(ctx)
	case "endpoint":
		err = runEndpoint(ctx)
	case "idle":
		<-ctx.Done()
	default:
		log.Fatalf("unknown command %q: none, \"traffic\", \"fetch\", \"validate\", \"endpoint\" or \"idle\" is expected", command)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// readArguments puts arguments of the form NAME=VALUE into the environment and returns the others, which name the command.
func readArguments(arguments []string) (string, error) {
	var words []string
	for _, argument := range arguments {
		name, value, isSetting := strings.Cut(argument, "=")
		if !isSetting {
			words = append(words, argument)
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return "", fmt.Errorf("%q: %w", argument, err)
		}
	}
	return strings.Join(words, " "), nil
}
