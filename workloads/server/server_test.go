package main

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"workloads/workloadapitest"
)

const (
	serverID = "spiffe://server.example/ns/demo/sa/default"
	clientID = "spiffe://client.example/ns/demo/sa/default"
)

func captureLog(t *testing.T) *workloadapitest.LogText {
	captured, before := &workloadapitest.LogText{}, log.Writer()
	log.SetOutput(captured)
	t.Cleanup(func() { log.SetOutput(before) })
	return captured
}

func TestCallersAreAuthenticated(t *testing.T) {
	own := workloadapitest.NewAuthority(t, "server.example", "own")
	foreign := workloadapitest.NewAuthority(t, "client.example", "foreign")
	rotated := workloadapitest.NewAuthority(t, "client.example", "rotated")
	impostor := workloadapitest.NewAuthority(t, "client.example", "foreign")
	stranger := workloadapitest.NewAuthority(t, "stranger.example", "stranger")
	handler := authenticate(jwtbundle.NewSet(own.JWTBundle(), foreign.JWTBundle()),
		[]string{serverID, "second"}, http.HandlerFunc(index))
	later := time.Now().Add(time.Minute)

	const malformed = "Invalid or unsupported authorization header"
	for name, example := range map[string]struct {
		header string
		status int
		body   string
		logged string
	}{
		"no header":         {"", 401, malformed, malformed},
		"other scheme":      {"Basic dTpw", 401, malformed, malformed},
		"no token":          {"Bearer ", 401, malformed, malformed},
		"more than a token": {"Bearer a b", 401, malformed, malformed},
		"no JWT":            {"Bearer abc", 401, "Invalid token", "Invalid token: jwtsvid: unable to parse JWT token"},
		"wrong audience": {"Bearer " + foreign.JWTSVID(clientID, "other", later), 401, "Invalid token",
			`Invalid token: jwtsvid: expected audience in ["` + serverID + `" "second"] (audience=["other"])`},
		"expired": {"Bearer " + foreign.JWTSVID(clientID, serverID, time.Now().Add(-time.Hour)), 401, "Invalid token",
			"Invalid token: jwtsvid: token has expired"},
		"trust domain without a bundle": {"Bearer " + stranger.JWTSVID("spiffe://stranger.example/x", serverID, later), 401,
			"Invalid token", `Invalid token: jwtsvid: no bundle found for trust domain "stranger.example"`},
		"key that is not in the bundle": {"Bearer " + rotated.JWTSVID(clientID, serverID, later), 401, "Invalid token",
			`Invalid token: jwtsvid: no JWT authority "rotated" found for trust domain "client.example"`},
		"another key of the same name": {"Bearer " + impostor.JWTSVID(clientID, serverID, later), 401, "Invalid token",
			"Invalid token: jwtsvid: unable to get claims from token: "},
		"foreign caller":  {"Bearer " + foreign.JWTSVID(clientID, serverID, later), 200, "Success!!!", "Request received from " + clientID},
		"own caller":      {"Bearer " + own.JWTSVID(serverID, serverID, later), 200, "Success!!!", "Request received from " + serverID},
		"second audience": {"bearer " + foreign.JWTSVID(clientID, "second", later), 200, "Success!!!", "Request received from " + clientID},
	} {
		t.Run(name, func(t *testing.T) {
			captured := captureLog(t)
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			if example.header != "" {
				request.Header.Set("Authorization", example.header)
			}
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, request)
			if response.Code != example.status || strings.TrimSpace(response.Body.String()) != example.body {
				t.Errorf("answered %d %q", response.Code, response.Body)
			}
			if !strings.Contains(captured.String(), " "+example.logged) {
				t.Errorf("logged %q instead of %q", captured, example.logged)
			}
			if _, token, _ := strings.Cut(example.header, " "); len(token) > 10 && strings.Contains(captured.String(), token) {
				t.Error("the token is in the log")
			}
		})
	}
}

// TestServerLifetime goes through a server's life: no identity, an identity, others after rotation, SIGTERM.
func TestServerLifetime(t *testing.T) {
	captured := captureLog(t)
	own := workloadapitest.NewAuthority(t, "server.example", "own")
	foreign := workloadapitest.NewAuthority(t, "client.example", "foreign")
	agent := workloadapitest.StartAgent(t)
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", agent.Address)
	set := settings{listenAddress: freeAddress(t), readyAddress: freeAddress(t)}
	ctx, terminate := context.WithCancel(context.Background())
	defer terminate()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, set) }()

	eventually(t, "readiness is refused and the missing identity logged", func() bool {
		return readyStatus(set) == 503 && strings.Contains(captured.String(), "no identity issued")
	})
	if conn, err := net.Dial("tcp", set.listenAddress); err == nil {
		_ = conn.Close()
		t.Fatal("listens without an SVID")
	}

	agent.Issue(own, serverID, 10, foreign)
	eventually(t, "the server is ready", func() bool { return readyStatus(set) == 200 })
	verifier := newCaller(own)
	defer verifier.close()
	if status, body := verifier.get(t, set, foreign.JWTSVID(clientID, serverID, time.Now().Add(time.Minute))); status != 200 || body != "Success!!!" {
		t.Errorf("answered %d %q", status, body)
	}
	if verifier.serial != 10 {
		t.Errorf("presented serial %d", verifier.serial)
	}

	// Everything is replaced; a connection made before then still serves.
	foreign = workloadapitest.NewAuthority(t, "client.example", "rotated")
	agent.Issue(own, serverID, 11, foreign)
	eventually(t, "the new key and SVID are in use", func() bool {
		fresh := newCaller(own)
		defer fresh.close()
		status, _ := fresh.get(t, set, foreign.JWTSVID(clientID, serverID, time.Now().Add(time.Minute)))
		return status == 200 && fresh.serial == 11
	})
	if status, _ := verifier.get(t, set, foreign.JWTSVID(clientID, serverID, time.Now().Add(time.Minute))); status != 200 || verifier.handshakes != 1 {
		t.Errorf("answered %d on the kept connection, after %d handshakes", status, verifier.handshakes)
	}

	start := time.Now()
	terminate()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(start); took > shutdownTimeout/2 {
		t.Errorf("took %s to end with an idle connection open", took)
	}
}

func TestEndsWhileWaitingForItsIdentity(t *testing.T) {
	captureLog(t)
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "unix:///nonexistent/agent.sock")
	ctx, terminate := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer terminate()
	start := time.Now()
	if err := run(ctx, settings{listenAddress: freeAddress(t), readyAddress: freeAddress(t)}); err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s to end", took)
	}
}

// caller is a client that keeps its connection, and remembers the certificate it was shown.
type caller struct {
	client     *http.Client
	serial     int64
	handshakes int
}

func newCaller(trusted *workloadapitest.Authority) *caller {
	c := &caller{}
	c.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: tlsconfig.TLSClientConfig(trusted.X509Bundle(), func(id spiffeid.ID, chains [][]*x509.Certificate) error {
			c.serial = chains[0][0].SerialNumber.Int64()
			c.handshakes++
			return tlsconfig.AuthorizeID(spiffeid.RequireFromString(serverID))(id, chains)
		}),
	}}
	return c
}

func (c *caller) close() { c.client.CloseIdleConnections() }

func (c *caller) get(t *testing.T, set settings, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "https://"+set.listenAddress, nil)
	workloadapitest.Check(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := c.client.Do(request)
	workloadapitest.Check(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	workloadapitest.Check(t, err)
	return response.StatusCode, string(body)
}

func readyStatus(set settings) int {
	response, err := http.Get("http://" + set.readyAddress + "/ready")
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	workloadapitest.Check(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not seen within 20 s: %s", what)
		}
	}
}
