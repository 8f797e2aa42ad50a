package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"workloads/workloadapitest"
)

func TestScheduleDoesNotWaitForSlowAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 3950*time.Millisecond)
		defer stop()
		var attempts atomic.Int64
		records := make(chan record, 100)
		beginning := time.Now()
		// Two slots, each taken for a second and a half: of ten attempts a second, two are sent in that time.
		onSchedule(ctx, 100*time.Millisecond, 2, func() outcome {
			attempts.Add(1)
			time.Sleep(1450 * time.Millisecond)
			return outcome{status: 200}
		}, func(line record) { records <- line })
		close(records)

		lines := []record{}
		for line := range records {
			lines = append(lines, line)
		}
		slices.SortFunc(lines, func(a, b record) int { return a.Sequence - b.Sequence })
		if len(lines) != 40 {
			t.Fatalf("%d records", len(lines))
		}
		sent := []int{}
		for i, line := range lines {
			due := beginning.Add(time.Duration(i) * 100 * time.Millisecond).UTC().Format(time.RFC3339Nano)
			if line.Sequence != i+1 || line.Start != due {
				t.Errorf("record %d is %+v, due %s", i+1, line, due)
			}
			if line.OK {
				sent = append(sent, line.Sequence)
				if line.Milliseconds != 1450 {
					t.Errorf("took %v ms", line.Milliseconds)
				}
			} else if line.Stage != stageOverload || line.Error == "" || line.Milliseconds != 0 {
				t.Errorf("%+v", line)
			}
		}
		if !slices.Equal(sent, []int{1, 2, 16, 17, 31, 32}) || attempts.Load() != 6 {
			t.Errorf("sent %v, %d attempts", sent, attempts.Load())
		}
		// The last ones began at 3.0 s and 3.1 s and were waited for.
		if took := time.Since(beginning); took != 4550*time.Millisecond {
			t.Errorf("ended after %s", took)
		}
	})
}

func TestFailuresAreToldApart(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/refused":
			http.Error(w, "Invalid token", http.StatusUnauthorized)
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(handler))
	defer server.Close()
	plain := httptest.NewServer(http.HandlerFunc(handler))
	defer plain.Close()
	// Accepts and says nothing, as a port-forward to a dead pod does.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	workloadapitest.Check(t, err)
	defer func() { _ = silent.Close() }()
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	workloadapitest.Check(t, err)
	workloadapitest.Check(t, unused.Close())

	token := func(context.Context) (string, error) { return "secret-token", nil }
	for name, example := range map[string]struct {
		url    string
		token  func(context.Context) (string, error)
		stage  string
		status int
		text   string
	}{
		"answered":     {server.URL, token, "", 200, ""},
		"no SVID":      {server.URL, func(context.Context) (string, error) { return "", errors.New("no agent") }, stageSVID, 0, "no agent"},
		"slow SVID":    {server.URL, func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }, stageSVID, 0, "deadline"},
		"no listener":  {"https://" + unused.Addr().String(), token, stageTLS, 0, "connection refused"},
		"no TLS":       {strings.Replace(plain.URL, "http:", "https:", 1), token, stageTLS, 0, "HTTP response to HTTPS"},
		"silent":       {"https://" + silent.Addr().String(), token, stageTLS, 0, "deadline"},
		"slow answer":  {server.URL + "/slow", token, stageHTTP, 0, "deadline"},
		"wrong answer": {server.URL + "/refused", token, stageHTTP, 401, "Invalid token"},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			defer transport.CloseIdleConnections()
			c := &caller{url: example.url, timeout: 500 * time.Millisecond, token: example.token, client: &http.Client{Transport: transport}}
			line := newRecord(1, time.Now(), 0, c.call())
			if line.Stage != example.stage || line.Status != example.status || line.OK != (example.stage == "") ||
				!strings.Contains(line.Error, example.text) || strings.Contains(line.Error, "secret-token") {
				t.Errorf("%+v", line)
			}
		})
	}
}
