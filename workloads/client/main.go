// Command client is the demo's client. It calls the server over TLS, makes sure of the server's SPIFFE ID, and
// authenticates itself with a JWT-SVID.
//
//	client          one request, as in the tutorial; exits 0 when the server answered 200
//	client traffic  requests on a steady schedule until SIGTERM, one line of JSON for each
//	client fetch    what the Workload API hands out now, as one line of JSON
//	client endpoint what a SPIFFE bundle endpoint presents and serves, as one line of JSON; needs no identity
//
// It follows go-spiffe's example: https://github.com/spiffe/go-spiffe/tree/main/examples/spiffe-jwt/client
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var err error
	switch command := strings.Join(os.Args[1:], " "); command {
	case "":
		err = runJob(ctx)
	case "traffic":
		err = runTraffic(ctx)
	case "fetch":
		err = runFetch(ctx)
	case "endpoint":
		err = runEndpoint(ctx)
	default:
		log.Fatalf("unknown command %q: no argument, \"traffic\", \"fetch\" or \"endpoint\" is expected", command)
	}
	if err != nil {
		log.Fatal(err)
	}
}
