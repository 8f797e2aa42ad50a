// Package workloadapitest is a Workload API and the authorities behind it, as far as the tests of the demo's programs need
// them. It is a module of its own: the images are built from the folders of the programs alone. The workspace beside it
// (go.work) is where their tests find it.
package workloadapitest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Check ends the test where there is an error.
func Check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Authority signs for one trust domain.
type Authority struct {
	t      *testing.T
	domain spiffeid.TrustDomain
	Cert   *x509.Certificate
	key    *ecdsa.PrivateKey // signs certificates and tokens alike
	keyID  string
}

// NewAuthority makes one for a trust domain; keyID is the name of its JWT authority.
func NewAuthority(t *testing.T, domain, keyID string) *Authority {
	t.Helper()
	a := &Authority{t: t, domain: spiffeid.RequireTrustDomainFromString(domain), keyID: keyID}
	a.key, a.Cert = a.certificate(&x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{a.domain.ID().URL()},
	})
	return a
}

func (a *Authority) certificate(template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Check(a.t, err)
	template.Subject = pkix.Name{CommonName: a.domain.Name()}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := a.Cert, a.key
	if parent == nil {
		parent, signer = template, key
	} else {
		// One that shares its issuer's name counts as self-signed, and would not say whose key signed it.
		template.Subject.CommonName += " workload"
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	Check(a.t, err)
	cert, err := x509.ParseCertificate(der)
	Check(a.t, err)
	return key, cert
}

// X509SVID issues an X.509-SVID of this ID and serial number.
func (a *Authority) X509SVID(id string, serial int64) *x509svid.SVID {
	a.t.Helper()
	spiffeID := spiffeid.RequireFromString(id)
	key, cert := a.certificate(&x509.Certificate{
		SerialNumber: big.NewInt(serial), KeyUsage: x509.KeyUsageDigitalSignature, URIs: []*url.URL{spiffeID.URL()},
	})
	return &x509svid.SVID{ID: spiffeID, Certificates: []*x509.Certificate{cert}, PrivateKey: key}
}

// JWTSVID issues a JWT-SVID of this ID.
func (a *Authority) JWTSVID(id, audience string, expiry time.Time) string {
	a.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.key, KeyID: a.keyID},
	}, new(jose.SignerOptions).WithType("JWT"))
	Check(a.t, err)
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: id, Audience: jwt.Audience{audience}, IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(expiry),
	}).Serialize()
	Check(a.t, err)
	return token
}

// X509Bundle is the trust domain's X.509 authorities.
func (a *Authority) X509Bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(a.domain, []*x509.Certificate{a.Cert})
}

// JWTBundle is the trust domain's JWT authorities.
func (a *Authority) JWTBundle() *jwtbundle.Bundle {
	bundle := jwtbundle.New(a.domain)
	Check(a.t, bundle.AddJWTAuthority(a.keyID, a.key.Public()))
	return bundle
}

// Agent is a Workload API with one workload, which has no identity until it is given one.
type Agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	Address string // for SPIFFE_ENDPOINT_SOCKET

	mu      sync.Mutex
	changed chan struct{}
	x509    *workload.X509SVIDResponse
	bundles *workload.JWTBundlesResponse
	token   func(audience string) *workload.JWTSVID
	known   *jwtbundle.Set // by which it validates tokens
}

// StartAgent serves it until the test ends.
func StartAgent(t *testing.T) *Agent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", path)
	Check(t, err)
	a := &Agent{Address: "unix://" + path, changed: make(chan struct{})}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return a
}

// Issue gives the workload an identity of own, and the bundles of own and of foreign.
func (a *Agent) Issue(own *Authority, id string, serial int64, foreign ...*Authority) {
	svid := own.X509SVID(id, serial)
	key, err := x509.MarshalPKCS8PrivateKey(svid.PrivateKey)
	Check(own.t, err)
	x509Response := &workload.X509SVIDResponse{
		Svids: []*workload.X509SVID{{
			SpiffeId: id, X509Svid: svid.Certificates[0].Raw, X509SvidKey: key, Bundle: own.Cert.Raw,
		}},
		FederatedBundles: map[string][]byte{},
	}
	jwtResponse := &workload.JWTBundlesResponse{Bundles: map[string][]byte{}}
	known := jwtbundle.NewSet()
	for _, authority := range append(foreign, own) {
		if authority != own {
			x509Response.FederatedBundles[authority.domain.IDString()] = authority.Cert.Raw
		}
		known.Add(authority.JWTBundle())
		jwtResponse.Bundles[authority.domain.IDString()], err = authority.JWTBundle().Marshal()
		Check(own.t, err)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	a.x509, a.bundles, a.known = x509Response, jwtResponse, known
	a.token = func(audience string) *workload.JWTSVID {
		return &workload.JWTSVID{SpiffeId: id, Svid: own.JWTSVID(id, audience, time.Now().Add(time.Minute))}
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// watch sends what latest gives, now and after every change.
func watch[T any](a *Agent, stream grpc.ServerStreamingServer[T], latest func() *T) error {
	for {
		a.mu.Lock()
		response, changed := latest(), a.changed
		a.mu.Unlock()
		if response == nil {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (a *Agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	return watch(a, stream, func() *workload.X509SVIDResponse { return a.x509 })
}

func (a *Agent) FetchJWTBundles(_ *workload.JWTBundlesRequest, stream workload.SpiffeWorkloadAPI_FetchJWTBundlesServer) error {
	return watch(a, stream, func() *workload.JWTBundlesResponse { return a.bundles })
}

func (a *Agent) FetchJWTSVID(_ context.Context, request *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token == nil {
		return nil, status.Error(codes.PermissionDenied, "no identity issued")
	}
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{a.token(request.Audience[0])}}, nil
}

func (a *Agent) ValidateJWTSVID(_ context.Context, request *workload.ValidateJWTSVIDRequest) (*workload.ValidateJWTSVIDResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	svid, err := jwtsvid.ParseAndValidate(request.Svid, a.known, []string{request.Audience})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &workload.ValidateJWTSVIDResponse{SpiffeId: svid.ID.String()}, nil
}

// LogText is a log that may be read while it is written.
type LogText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *LogText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *LogText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
