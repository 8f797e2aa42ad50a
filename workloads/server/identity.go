package main

import (
	"context"
	"log"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// retryPeriod paces every new attempt at the Workload API.
const retryPeriod = 500 * time.Millisecond

// connectWorkloadAPI returns a client of the Workload API at SPIFFE_ENDPOINT_SOCKET. It does not wait for the agent.
//
// Left alone, go-spiffe waits up to 30 s between attempts and gRPC up to 120 s, so that a workload may long be without an
// agent that is back. A steady pace keeps those pauses out of what a test measures.
func connectWorkloadAPI(ctx context.Context) (*workloadapi.Client, error) {
	return workloadapi.New(ctx,
		workloadapi.WithLogger(watchLog{}),
		workloadapi.WithBackoffStrategy(steady{}),
		workloadapi.WithDialOptions(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: retryPeriod, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		})),
	)
}

// persist repeats attempt until it succeeds; the error it returns is that of ctx, which has ended.
//
// A new pod is told "No identity issued" for some seconds until the agent has its entry. go-spiffe repeats that by itself,
// but gives up on some other answers.
func persist[T any](ctx context.Context, attempt func() (T, error)) (T, error) {
	for {
		source, err := attempt()
		if err == nil {
			return source, nil
		}
		if ctx.Err() == nil {
			log.Printf("No identity yet: %v", err)
		}
		select {
		case <-ctx.Done():
			return source, ctx.Err()
		case <-time.After(retryPeriod):
		}
	}
}

// watchLog puts go-spiffe's troubles with the Workload API into the log, and nothing else of what it says.
type watchLog struct{}

func (watchLog) Debugf(string, ...any)             {}
func (watchLog) Infof(string, ...any)              {}
func (watchLog) Warnf(format string, args ...any)  { log.Printf(format, args...) }
func (watchLog) Errorf(format string, args ...any) { log.Printf(format, args...) }

// steady is a workloadapi.BackoffStrategy that never grows.
type steady struct{}

func (steady) NewBackoff() workloadapi.Backoff { return steady{} }
func (steady) Next() time.Duration             { return retryPeriod }
func (steady) Reset()                          {}
