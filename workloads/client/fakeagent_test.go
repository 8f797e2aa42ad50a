package main

// A Workload API and the authorities behind it, as far as these tests need them. The file is the same in both modules.

import (
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

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority signs for one trust domain.
type authority struct {
	t      *testing.T
	domain spiffeid.TrustDomain
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey // signs certificates and tokens alike
	keyID  string
}

func newAuthority(t *testing.T, domain, keyID string) *authority {
	t.Helper()
	a := &authority{t: t, domain: spiffeid.RequireTrustDomainFromString(domain), keyID: keyID}
	a.key, a.cert = a.certificate(&x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{a.domain.ID().URL()},
	})
	return a
}

func (a *authority) certificate(template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	template.Subject = pkix.Name{CommonName: a.domain.Name()}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	} else {
		// One that shares its issuer's name counts as self-signed, and would not say whose key signed it.
		template.Subject.CommonName += " workload"
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	check(a.t, err)
	cert, err := x509.ParseCertificate(der)
	check(a.t, err)
	return key, cert
}

func (a *authority) x509SVID(id string, serial int64) *x509svid.SVID {
	a.t.Helper()
	spiffeID := spiffeid.RequireFromString(id)
	key, cert := a.certificate(&x509.Certificate{
		SerialNumber: big.NewInt(serial), KeyUsage: x509.KeyUsageDigitalSignature, URIs: []*url.URL{spiffeID.URL()},
	})
	return &x509svid.SVID{ID: spiffeID, Certificates: []*x509.Certificate{cert}, PrivateKey: key}
}

func (a *authority) jwtSVID(id, audience string, expiry time.Time) string {
	a.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.key, KeyID: a.keyID},
	}, new(jose.SignerOptions).WithType("JWT"))
	check(a.t, err)
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: id, Audience: jwt.Audience{audience}, Expiry: jwt.NewNumericDate(expiry),
	}).Serialize()
	check(a.t, err)
	return token
}

func (a *authority) x509Bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(a.domain, []*x509.Certificate{a.cert})
}

func (a *authority) jwtBundle() *jwtbundle.Bundle {
	bundle := jwtbundle.New(a.domain)
	check(a.t, bundle.AddJWTAuthority(a.keyID, a.key.Public()))
	return bundle
}

// agent is a Workload API with one workload, which has no identity until it is given one.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	address string // for SPIFFE_ENDPOINT_SOCKET

	mu      sync.Mutex
	changed chan struct{}
	x509    *workload.X509SVIDResponse
	bundles *workload.JWTBundlesResponse
	token   func(audience string) *workload.JWTSVID
	known   *jwtbundle.Set // by which it validates tokens
}

func startAgent(t *testing.T) *agent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", path)
	check(t, err)
	a := &agent{address: "unix://" + path, changed: make(chan struct{})}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return a
}

// issue gives the workload an identity of own, and the bundles of own and of foreign.
func (a *agent) issue(own *authority, id string, serial int64, foreign ...*authority) {
	svid := own.x509SVID(id, serial)
	key, err := x509.MarshalPKCS8PrivateKey(svid.PrivateKey)
	check(own.t, err)
	x509Response := &workload.X509SVIDResponse{
		Svids: []*workload.X509SVID{{
			SpiffeId: id, X509Svid: svid.Certificates[0].Raw, X509SvidKey: key, Bundle: own.cert.Raw,
		}},
		FederatedBundles: map[string][]byte{},
	}
	jwtResponse := &workload.JWTBundlesResponse{Bundles: map[string][]byte{}}
	known := jwtbundle.NewSet()
	for _, authority := range append(foreign, own) {
		if authority != own {
			x509Response.FederatedBundles[authority.domain.IDString()] = authority.cert.Raw
		}
		known.Add(authority.jwtBundle())
		jwtResponse.Bundles[authority.domain.IDString()], err = authority.jwtBundle().Marshal()
		check(own.t, err)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	a.x509, a.bundles, a.known = x509Response, jwtResponse, known
	a.token = func(audience string) *workload.JWTSVID {
		return &workload.JWTSVID{SpiffeId: id, Svid: own.jwtSVID(id, audience, time.Now().Add(time.Minute))}
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// watch sends what latest gives, now and after every change.
func watch[T any](a *agent, stream grpc.ServerStreamingServer[T], latest func() *T) error {
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

func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	return watch(a, stream, func() *workload.X509SVIDResponse { return a.x509 })
}

func (a *agent) FetchJWTBundles(_ *workload.JWTBundlesRequest, stream workload.SpiffeWorkloadAPI_FetchJWTBundlesServer) error {
	return watch(a, stream, func() *workload.JWTBundlesResponse { return a.bundles })
}

func (a *agent) FetchJWTSVID(_ context.Context, request *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token == nil {
		return nil, status.Error(codes.PermissionDenied, "no identity issued")
	}
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{a.token(request.Audience[0])}}, nil
}

func (a *agent) ValidateJWTSVID(_ context.Context, request *workload.ValidateJWTSVIDRequest) (*workload.ValidateJWTSVIDResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	svid, err := jwtsvid.ParseAndValidate(request.Svid, a.known, []string{request.Audience})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &workload.ValidateJWTSVIDResponse{SpiffeId: svid.ID.String()}, nil
}
