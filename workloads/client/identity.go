package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// retryPeriod paces every new attempt at the Workload API.
const retryPeriod = 500 * time.Millisecond

// askTimeout bounds all that is asked at once. Nobody waits for an identity then: that there is none is an answer too.
const askTimeout = 10 * time.Second

// connectWorkloadAPI returns a client of the Workload API at SPIFFE_ENDPOINT_SOCKET. It does not wait for the agent.
//
// Left alone, go-spiffe waits up to 30 s between attempts and gRPC up to 120 s, so that a workload may long be without an
// agent that is back. A steady pace keeps those pauses out of what a test measures.
func connectWorkloadAPI(ctx context.Context, watch *watchLog) (*workloadapi.Client, error) {
	client, err := workloadapi.New(ctx,
		workloadapi.WithLogger(watch),
		workloadapi.WithBackoffStrategy(steady{}),
		workloadapi.WithDialOptions(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: retryPeriod, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		})),
	)
	if err != nil {
		return nil, fmt.Errorf("unable to use the Workload API: %w", err)
	}
	return client, nil
}

// askWorkloadAPI asks the Workload API once, over a connection of its own: what a long-lived one was told once is not what is
// asked for.
func askWorkloadAPI(ctx context.Context, ask func(context.Context, *workloadapi.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	api, err := connectWorkloadAPI(ctx, &watchLog{})
	if err != nil {
		return err
	}
	defer func() { _ = api.Close() }()
	return ask(ctx, api)
}

// fetchJWTSVID asks until it is given a JWT-SVID or ctx ends. It repeats itself only for what passes by itself: an entry that
// has not reached the agent yet (PermissionDenied), and an agent or SPIRE server out of reach (Unavailable).
func fetchJWTSVID(ctx context.Context, source *workloadapi.JWTSource, audience string) (*jwtsvid.SVID, error) {
	for {
		svid, err := source.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
		if code := status.Code(err); code != codes.PermissionDenied && code != codes.Unavailable {
			return svid, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryPeriod):
		}
	}
}

// watchLog hears go-spiffe's troubles with the Workload API and keeps the last one, because the error of an expired wait
// says nothing of them. The one-shot job stays silent otherwise: its log is the tutorial's, line by line.
type watchLog struct {
	aloud bool

	mu   sync.Mutex
	last string
}

func (w *watchLog) Debugf(string, ...any) {}
func (w *watchLog) Infof(string, ...any)  {}

func (w *watchLog) Warnf(format string, args ...any) { w.Errorf(format, args...) }

func (w *watchLog) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.mu.Lock()
	w.last = text
	w.mu.Unlock()
	if w.aloud {
		log.Print(text)
	}
}

// explain adds the last trouble to the error of a wait that has expired.
func (w *watchLog) explain(err error, timeout time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == "" || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("no identity within %s: %s", timeout, w.last)
}

// steady is a workloadapi.BackoffStrategy that never grows.
type steady struct{}

func (steady) NewBackoff() workloadapi.Backoff { return steady{} }
func (steady) Next() time.Duration             { return retryPeriod }
func (steady) Reset()                          {}
