package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"workloads/workloadapitest"
)

const (
	serverID = "spiffe://server.example/ns/demo/sa/default"
	clientID = "spiffe://client.example/ns/demo/sa/default"
	otherID  = "spiffe://server.example/ns/demo/sa/other"
)

// TestMain lets the test binary stand in for the program, for what it prints and how it exits are what is promised.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_CLIENT") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// demo is an agent for the client and a server for it to call.
type demo struct {
	agent          *workloadapitest.Agent
	client, server *workloadapitest.Authority
	url            string
	serverLog      *workloadapitest.LogText
	connections    *atomic.Int64
}

func startDemo(t *testing.T) *demo {
	d := &demo{
		agent:       workloadapitest.StartAgent(t),
		client:      workloadapitest.NewAuthority(t, "client.example", "client-key"),
		server:      workloadapitest.NewAuthority(t, "server.example", "server-key"),
		serverLog:   &workloadapitest.LogText{},
		connections: &atomic.Int64{},
	}
	bundles := jwtbundle.NewSet(d.client.JWTBundle())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found {
			http.Error(w, "Invalid or unsupported authorization header", http.StatusUnauthorized)
		} else if _, err := jwtsvid.ParseAndValidate(token, bundles, []string{serverID}); err != nil {
			http.Error(w, "Invalid token", http.StatusUnauthorized)
		} else {
			_, _ = io.WriteString(w, "Success!!!")
		}
	})
	// Not httptest's server: it would present a certificate of its own.
	server := &http.Server{
		Handler:   handler,
		TLSConfig: tlsconfig.TLSServerConfig(d.server.X509SVID(serverID, 20)),
		ErrorLog:  log.New(d.serverLog, "", log.LstdFlags),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				d.connections.Add(1)
			}
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	workloadapitest.Check(t, err)
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	d.url = "https://" + listener.Addr().String()
	return d
}

func (d *demo) issue() { d.agent.Issue(d.client, clientID, 0xabc, d.server) }

func (d *demo) command(arguments []string, environment ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append([]string{
		"RUN_CLIENT=1", "SPIFFE_ENDPOINT_SOCKET=" + d.agent.Address, "SERVER_URL=" + d.url, "AUDIENCE=" + serverID,
	}, environment...)
	return command
}

// run returns what the client prints and its exit code.
func (d *demo) run(t *testing.T, arguments []string, environment ...string) (stdout, stderr string, code int) {
	t.Helper()
	command := d.command(arguments, environment...)
	var out, err bytes.Buffer
	command.Stdout, command.Stderr = &out, &err
	if failure := command.Run(); failure != nil && !errors.As(failure, new(*exec.ExitError)) {
		t.Fatal(failure)
	}
	return out.String(), err.String(), command.ProcessState.ExitCode()
}

const untilFetched = "Starting...\nCreated Newx509Source\ncreated HTTP client\ncreated JWTSource\nfetched JWT SVID\n"

func TestJobPrintsTheTutorialsLog(t *testing.T) {
	d := startDemo(t)
	// Its identity is late, as in a new pod, and that leaves no trace in the log.
	time.AfterFunc(700*time.Millisecond, d.issue)
	stdout, stderr, code := d.run(t, nil)
	if stdout != untilFetched+"Success!!!\n" || stderr != "" || code != 0 {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestJobExpectsItsAudienceOfTheServer(t *testing.T) {
	d := startDemo(t)
	d.issue()
	stdout, stderr, code := d.run(t, nil, "AUDIENCE="+otherID)
	expected := regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ` + regexp.QuoteMeta(
		`unable to issue request to "`+d.url+`": Get "`+d.url+`": unexpected ID "`+serverID+`"`) + "\n$")
	if stdout != untilFetched || !expected.MatchString(stderr) || code != 1 {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	for deadline := time.Now().Add(5 * time.Second); !strings.HasSuffix(d.serverLog.String(), ": remote error: tls: bad certificate\n"); {
		if time.Now().After(deadline) {
			t.Fatalf("the server's log: %q", d.serverLog)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestJobIsRefused(t *testing.T) {
	d := startDemo(t)
	d.issue()
	untilSource := strings.TrimSuffix(untilFetched, "fetched JWT SVID\n")
	file := filepath.Join(t.TempDir(), "token")
	workloadapitest.Check(t, os.WriteFile(file, []byte("abc\n"), 0o600))
	for name, example := range map[string]struct {
		environment []string
		stdout      string
	}{
		"audience": {[]string{"AUDIENCE=other", "EXPECTED_SERVER_ID=" + serverID}, untilFetched + "401 Invalid token\n"},
		"none":     {[]string{"BEARER=none"}, untilSource + "401 Invalid or unsupported authorization header\n"},
		"file":     {[]string{"BEARER=file:" + file}, untilSource + "401 Invalid token\n"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := d.run(t, nil, example.environment...)
			if stdout != example.stdout || stderr != "" || code != 1 {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestJobSendsTheFilesToken(t *testing.T) {
	d := startDemo(t)
	d.issue()
	file := filepath.Join(t.TempDir(), "token")
	workloadapitest.Check(t, os.WriteFile(file, []byte(d.client.JWTSVID(clientID, serverID, time.Now().Add(time.Minute))+"\n"), 0o600))
	if stdout, stderr, code := d.run(t, nil, "BEARER=file:"+file); !strings.HasSuffix(stdout, "Success!!!\n") || code != 0 {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestJobSaysWhyItHasNoIdentity(t *testing.T) {
	d := startDemo(t)
	stdout, stderr, code := d.run(t, nil, "IDENTITY_TIMEOUT=1s")
	if stdout != "Starting...\n" || code != 1 ||
		!strings.Contains(stderr, "unable to create X509Source: no identity within 1s: ") || !strings.Contains(stderr, "no identity issued") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	d := startDemo(t)
	for setting, arguments := range map[string][]string{
		"SERVER_URL=":                   nil,
		"SERVER_URL=http://127.0.0.1":   nil,
		"AUDIENCE=":                     nil,
		"AUDIENCE=not-a-spiffe-id":      nil,
		"EXPECTED_SERVER_ID=nonsense":   nil,
		"BEARER=eyJsecret":              nil,
		"IDENTITY_TIMEOUT=5":            nil,
		"REQUEST_TIMEOUT=-1s":           {"traffic"},
		"REQUEST_RATE=0":                {"traffic"},
		"REQUEST_RATE=NaN":              {"traffic"},
		"CONNECTIONS=keep":              {"traffic"},
		"BEARER=none":                   {"traffic"},
		"SPIFFE_ENDPOINT_SOCKET=socket": {"fetch"},
	} {
		t.Run(setting, func(t *testing.T) {
			stdout, stderr, code := d.run(t, arguments, setting)
			if code != 1 || strings.Contains(stdout, "Created") || strings.Contains(stderr, "eyJ") {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
			if name, _, _ := strings.Cut(setting, "="); !strings.Contains(stderr, name) && name != "SPIFFE_ENDPOINT_SOCKET" {
				t.Errorf("%s is not named: %s", name, stderr)
			}
		})
	}
}

func TestArgumentsAreSettingsToo(t *testing.T) {
	d := startDemo(t)
	d.issue()
	stdout, stderr, code := d.run(t, []string{"AUDIENCE=" + serverID}, "AUDIENCE="+otherID)
	if stdout != untilFetched+"Success!!!\n" || stderr != "" || code != 0 {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if _, stderr, code := d.run(t, []string{"=value"}); code != 1 || !strings.Contains(stderr, `"=value"`) {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestIdleUntilSIGTERM(t *testing.T) {
	command := startDemo(t).command([]string{"idle"})
	workloadapitest.Check(t, command.Start())
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("it ended by itself: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	workloadapitest.Check(t, command.Process.Signal(syscall.SIGTERM))
	workloadapitest.Check(t, <-ended)
}

func TestFetchDescribesTheIdentity(t *testing.T) {
	d := startDemo(t)
	if _, stderr, code := d.run(t, []string{"fetch"}); code != 1 || !strings.Contains(stderr, "no identity issued") {
		t.Errorf("without an identity: exit %d\n%s", code, stderr)
	}
	d.issue()
	stdout, stderr, code := d.run(t, []string{"fetch"})
	var found identity
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != 0 || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if found.SPIFFEID != clientID || found.X509Serial != "abc" ||
		!slices.Equal(found.TrustDomains, []string{"client.example", "server.example"}) ||
		!slices.Equal(found.JWTAuthorities["server.example"], []string{"server-key"}) ||
		found.JWTAuthority != "client-key" || time.Since(found.JWTIssuedAt) > time.Minute || found.X509Authority != hex.EncodeToString(d.client.Cert.SubjectKeyId) ||
		len(found.X509Authorities["server.example"]) != 1 || len(found.X509Authorities["server.example"][0]) != 64 ||
		time.Until(found.X509NotAfter) < time.Minute || time.Until(found.JWTExpiry) > time.Minute {
		t.Error(stdout)
	}
}

// A host that no name service knows, as an OIDC issuer's is: its server shows by which name it was asked.
func TestEndpointIsAskedByANameAtAnotherAddress(t *testing.T) {
	owner, stranger := workloadapitest.NewAuthority(t, "server.example", "a"), workloadapitest.NewAuthority(t, "server.example", "b")
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strconv.Quote(r.Host+r.URL.Path))
	})
	listen := func(serve func(*http.Server, net.Listener) error) string {
		server := &http.Server{
			Handler: handler, TLSConfig: tlsconfig.TLSServerConfig(owner.X509SVID(serverID, 20)),
			ErrorLog: log.New(io.Discard, "", 0),
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		workloadapitest.Check(t, err)
		go func() { _ = serve(server, listener) }()
		t.Cleanup(func() { _ = server.Close() })
		return "CONNECT_TO=" + listener.Addr().String()
	}
	secure := listen(func(server *http.Server, l net.Listener) error { return server.ServeTLS(l, "", "") })
	plain := listen(func(server *http.Server, l net.Listener) error { return server.Serve(l) })
	bundle := func(of *workloadapitest.Authority) string {
		document, err := spiffebundle.FromX509Bundle(of.X509Bundle()).Marshal()
		workloadapitest.Check(t, err)
		path := filepath.Join(t.TempDir(), "bundle.json")
		workloadapitest.Check(t, os.WriteFile(path, document, 0o600))
		return "BUNDLE=file:" + path
	}
	d := startDemo(t)
	for _, test := range []struct {
		url, id string
		set     []string
	}{
		{"https://oidc.example/keys", serverID, []string{secure, bundle(owner)}},
		{"https://oidc.example/keys", serverID, []string{secure}},
		{"http://oidc.example/keys", "", []string{plain, bundle(owner)}},
	} {
		stdout, stderr, code := d.run(t, append([]string{"endpoint", "ENDPOINT_URL=" + test.url}, test.set...))
		var found endpoint
		if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != 0 {
			t.Fatalf("%s %q: exit %d, %v\n%s%s", test.url, test.set, code, err, stdout, stderr)
		}
		if found.SPIFFEID != test.id || string(found.Document) != `"oidc.example/keys"` || found.NotAfter.IsZero() != (test.id == "") {
			t.Errorf("%s %q: %s", test.url, test.set, stdout)
		}
	}
	stdout, _, _ := d.run(t, []string{"endpoint", "ENDPOINT_URL=http://oidc.example/", plain, "DOCUMENT=text"})
	if !strings.Contains(stdout, `"document":"\"oidc.example/\""`) {
		t.Error(stdout)
	}
	_, stderr, code := d.run(t, []string{"endpoint", "ENDPOINT_URL=https://oidc.example/keys", secure, bundle(stranger)})
	if code != 1 || !strings.Contains(stderr, "what its trust bundle does not verify") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestValidateSaysWhoseATokenIs(t *testing.T) {
	d := startDemo(t)
	d.issue()
	later := time.Now().Add(time.Minute)
	for name, example := range map[string]struct {
		token, said string
		code        int
	}{
		"foreign":        {d.server.JWTSVID(serverID, clientID, later), serverID, 0},
		"other audience": {d.server.JWTSVID(serverID, otherID, later), "expected audience in", 1},
		"unknown key":    {workloadapitest.NewAuthority(t, "server.example", "rotated").JWTSVID(serverID, clientID, later), `no JWT authority "rotated"`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			workloadapitest.Check(t, os.WriteFile(file, []byte(example.token+"\n"), 0o600))
			stdout, stderr, code := d.run(t, []string{"validate", "AUDIENCE=" + clientID, "BEARER=file:" + file})
			if !strings.Contains(stdout+stderr, example.said) || code != example.code || strings.Contains(stdout+stderr, "eyJ") {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	if _, stderr, code := d.run(t, []string{"validate", "AUDIENCE=" + clientID}); code != 1 || !strings.Contains(stderr, "BEARER") {
		t.Errorf("without a token: exit %d\n%s", code, stderr)
	}
}

func TestTrafficUntilSIGTERM(t *testing.T) {
	for _, connections := range []string{"kept", "new"} {
		t.Run(connections, func(t *testing.T) {
			d := startDemo(t)
			d.issue()
			command := d.command([]string{"traffic"}, "REQUEST_RATE=20", "CONNECTIONS="+connections, "REQUEST_TIMEOUT=10s")
			out := &workloadapitest.LogText{}
			command.Stdout, command.Stderr = out, out
			workloadapitest.Check(t, command.Start())
			for deadline := time.Now().Add(20 * time.Second); strings.Count(out.String(), "\n") < 20 && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			workloadapitest.Check(t, command.Process.Signal(syscall.SIGTERM))
			workloadapitest.Check(t, command.Wait())

			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			sequences := []int{}
			for _, line := range lines {
				var r record
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				_, err := time.Parse(time.RFC3339Nano, r.Start)
				if err != nil || !r.OK || r.Status != 200 || r.Stage != "" || r.Error != "" || r.Milliseconds <= 0 {
					t.Error(line)
				}
				sequences = append(sequences, r.Sequence)
			}
			slices.Sort(sequences)
			if sequences[0] != 1 || sequences[len(sequences)-1] != len(lines) || len(lines) < 20 {
				t.Errorf("sequence numbers %v", sequences)
			}
			// Kept ones may be few instead of one: when a request is slow, the next needs another.
			made := int(d.connections.Load())
			if connections == "new" && made != len(lines) || connections == "kept" && made > len(lines)/2 {
				t.Errorf("%d connections for %d requests", made, len(lines))
			}
			if strings.Contains(out.String(), "eyJ") {
				t.Error("there is a token in the output")
			}
		})
	}
}
