package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// slots bounds the requests under way at one time.
const slots = 32

// The stage at which a request failed.
const (
	stageSVID     = "svid"     // the Workload API gave no JWT-SVID
	stageTLS      = "tls"      // no connection: refused, not routed, or the handshake failed
	stageHTTP     = "http"     // connected, but no answer in time, or one other than 200
	stageOverload = "overload" // never sent: all slots were taken
)

// outcome is how one request went.
type outcome struct {
	stage  string // empty when the answer was 200
	status int    // 0 when there was no answer
	err    error
}

// record is an outcome as a line of JSON. Sequence numbers start at 1 and have no gaps, but lines come in the order in which
// requests end.
type record struct {
	Sequence     int     `json:"sequence"`
	Start        string  `json:"start"`        // RFC 3339 with nanoseconds, UTC
	Milliseconds float64 `json:"milliseconds"` // from the start to the end of the answer, the JWT-SVID included
	OK           bool    `json:"ok"`
	Stage        string  `json:"stage"`
	Status       int     `json:"status"`
	Error        string  `json:"error"`
}

func newRecord(sequence int, start time.Time, took time.Duration, result outcome) record {
	line := record{
		Sequence:     sequence,
		Start:        start.UTC().Format(time.RFC3339Nano),
		Milliseconds: math.Round(float64(took)/float64(time.Microsecond)) / 1000,
		OK:           result.stage == "",
		Stage:        result.stage,
		Status:       result.status,
	}
	if result.err != nil {
		line.Error = result.err.Error()
	}
	return line
}

// runTraffic issues requests until ctx is done, then lets those under way finish.
func runTraffic(ctx context.Context) error {
	set, err := settingsFromEnvironment(2 * time.Second)
	if err != nil {
		return err
	}
	rate, err := requestRateFromEnvironment()
	if err != nil {
		return err
	}
	keep, err := keepConnectionsFromEnvironment()
	if err != nil {
		return err
	}
	if os.Getenv("BEARER") != "" {
		return errors.New("BEARER is for the one-shot job: traffic always fetches a JWT-SVID")
	}

	watch := &watchLog{aloud: true}
	api, err := connectWorkloadAPI(ctx, watch)
	if err != nil {
		return err
	}
	defer func() { _ = api.Close() }()
	identityCtx, cancel := context.WithTimeout(ctx, set.identityTimeout)
	defer cancel()
	x509Source, err := workloadapi.NewX509Source(identityCtx, workloadapi.WithClient(api))
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unable to create X509Source: %w", watch.explain(err, set.identityTimeout))
	}
	defer func() { _ = x509Source.Close() }()
	jwtSource, err := workloadapi.NewJWTSource(identityCtx, workloadapi.WithClient(api))
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unable to create JWTSource: %w", watch.explain(err, set.identityTimeout))
	}
	defer func() { _ = jwtSource.Close() }()

	caller := &caller{
		url:     set.serverURL,
		timeout: set.requestTimeout,
		token: func(ctx context.Context) (string, error) {
			// Asked of the agent for every request: this is what shows that the agent is alive.
			svid, err := jwtSource.FetchJWTSVID(ctx, jwtsvid.Params{Audience: set.audience})
			if err != nil {
				return "", err
			}
			return svid.Marshal(), nil
		},
		client: &http.Client{Transport: &http.Transport{
			TLSClientConfig:   tlsconfig.TLSClientConfig(x509Source, tlsconfig.AuthorizeID(set.expectedServer)),
			DisableKeepAlives: !keep,
			// Connecting goes on after its request has given up; without limits of its own it would pile up behind a
			// server that does not answer.
			DialContext:         (&net.Dialer{Timeout: set.requestTimeout}).DialContext,
			TLSHandshakeTimeout: set.requestTimeout,
			MaxIdleConnsPerHost: slots,
			IdleConnTimeout:     90 * time.Second,
		}},
	}
	onSchedule(ctx, time.Duration(float64(time.Second)/rate), slots, caller.call, printer(os.Stdout))
	return nil
}

// onSchedule calls attempt once every period until ctx is done, and reports each one, in no order. An attempt that finds
// concurrency others still under way is reported as overload, not made up for: a slow answer must not delay or thin out
// the requests after it. It returns when the last attempt has ended.
//
// The schedule is reckoned from its beginning, for a time.Ticker would drop ticks without a trace on a busy machine.
func onSchedule(ctx context.Context, period time.Duration, concurrency int, attempt func() outcome, report func(record)) {
	free := make(chan struct{}, concurrency)
	var underWay sync.WaitGroup
	defer underWay.Wait()

	beginning := time.Now()
	for sequence := 1; ; sequence++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(beginning.Add(time.Duration(sequence-1) * period))):
		}
		start := time.Now()
		select {
		case free <- struct{}{}:
			underWay.Go(func() {
				result := attempt()
				report(newRecord(sequence, start, time.Since(start), result))
				<-free
			})
		default:
			report(newRecord(sequence, start, 0, outcome{
				stage: stageOverload,
				err:   fmt.Errorf("%d requests are still under way", concurrency),
			}))
		}
	}
}

// printer writes records as lines of JSON, each in one piece.
func printer(out io.Writer) func(record) {
	var mu sync.Mutex
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return func(line record) {
		mu.Lock()
		defer mu.Unlock()
		_ = encoder.Encode(line)
	}
}

// caller issues single requests, each with a token of its own.
type caller struct {
	url     string
	timeout time.Duration // for the token and the answer together
	token   func(context.Context) (string, error)
	client  *http.Client
}

// call has a deadline but no other context: a request under way is finished when the program is asked to stop.
func (c *caller) call() outcome {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()

	token, err := c.token(ctx)
	if err != nil {
		return outcome{stage: stageSVID, err: err}
	}

	// Set once there is a connection to use, which for a new one is after its handshake.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// A request that finds its kept connection closed starts over with another.
		GetConn: func(string) { connected.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return outcome{stage: stageHTTP, err: err}
	}
	request.Header.Set("Authorization", "Bearer "+token)

	response, err := c.client.Do(request)
	if err != nil {
		if connected.Load() {
			return outcome{stage: stageHTTP, err: err}
		}
		return outcome{stage: stageTLS, err: err}
	}
	defer func() { _ = response.Body.Close() }()
	// Read to the end, or the connection could not be kept.
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return outcome{stage: stageHTTP, status: response.StatusCode, err: err}
	}
	if response.StatusCode != http.StatusOK {
		return outcome{stage: stageHTTP, status: response.StatusCode, err: errors.New(strings.TrimSpace(string(body)))}
	}
	return outcome{status: response.StatusCode}
}
