// Command server is the demo's HTTPS server. It presents its X.509-SVID over plain TLS and lets a caller in who brings a
// JWT-SVID that the bundles of the Workload API, foreign trust domains included, can vouch for.
//
// It follows go-spiffe's example: https://github.com/spiffe/go-spiffe/tree/main/examples/spiffe-jwt/server
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// shutdownTimeout is how long requests under way may take after SIGTERM. It is below the manifest's
// terminationGracePeriodSeconds, so that the process ends by itself.
const shutdownTimeout = 3 * time.Second

type settings struct {
	listenAddress string   // TLS, for callers
	readyAddress  string   // plain HTTP, for the readiness probe
	audiences     []string // any of them is accepted in a token; none means the server's own SPIFFE ID
}

func settingsFromEnvironment() settings {
	return settings{
		listenAddress: environment("LISTEN_ADDRESS", ":8443"),
		readyAddress:  environment("READY_ADDRESS", ":8080"),
		audiences:     splitList(os.Getenv("SERVER_AUDIENCE")),
	}
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// splitList takes a comma separated list apart; blanks and empty items do not count.
func splitList(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, settingsFromEnvironment()); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done, and returns nil then. It returns an error only for what no waiting can heal:
// an address that cannot be listened on, or a SPIFFE_ENDPOINT_SOCKET that is missing or malformed.
func run(ctx context.Context, set settings) error {
	// Readiness has a port of its own: a probe of the TLS port would leave a handshake error in the log every second,
	// and those lines are what the demo's failure is recognised by.
	var ready atomic.Bool
	readyListener, err := net.Listen("tcp", set.readyAddress)
	if err != nil {
		return fmt.Errorf("unable to listen for the readiness probe: %w", err)
	}
	readyServer := &http.Server{Handler: readiness(&ready), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = readyServer.Serve(readyListener) }()
	defer func() { _ = readyServer.Close() }()

	api, err := connectWorkloadAPI(ctx)
	if err != nil {
		return fmt.Errorf("unable to use the Workload API: %w", err)
	}
	defer func() { _ = api.Close() }()

	// Both sources keep following the Workload API, so renewed SVIDs and rotated bundles are in use as soon as they arrive.
	log.Print("Waiting for an X509-SVID")
	x509Source, err := persist(ctx, func() (*workloadapi.X509Source, error) {
		return workloadapi.NewX509Source(ctx, workloadapi.WithClient(api))
	})
	if err != nil {
		return nil
	}
	defer func() { _ = x509Source.Close() }()
	jwtSource, err := persist(ctx, func() (*workloadapi.JWTSource, error) {
		return workloadapi.NewJWTSource(ctx, workloadapi.WithClient(api))
	})
	if err != nil {
		return nil
	}
	defer func() { _ = jwtSource.Close() }()

	svid, err := x509Source.GetX509SVID()
	if err != nil {
		return fmt.Errorf("unable to get the X509-SVID: %w", err)
	}
	audiences := set.audiences
	if len(audiences) == 0 {
		audiences = []string{svid.ID.String()}
	}

	server := &http.Server{
		Handler:           authenticate(jwtSource, audiences, http.HandlerFunc(index)),
		TLSConfig:         tlsconfig.TLSServerConfig(x509Source),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	listener, err := net.Listen("tcp", set.listenAddress)
	if err != nil {
		return fmt.Errorf("unable to listen: %w", err)
	}
	log.Printf("Listening on %s as %s, accepting audience %q", listener.Addr(), svid.ID, audiences)
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(listener, "", "") }()
	ready.Store(true)

	select {
	case err := <-served:
		return fmt.Errorf("failed to serve: %w", err)
	case <-ctx.Done():
	}
	ready.Store(false)
	log.Print("Shutting down")
	shutdown, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(shutdown); errors.Is(err, context.DeadlineExceeded) {
		_ = server.Close()
	}
	return nil
}

// readiness answers 200 on /ready once the server listens with its SVID, and 503 before and after.
func readiness(ready *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	return mux
}
