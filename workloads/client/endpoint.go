package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// endpointLimit bounds a bundle document: one megabyte holds thousands of keys.
const endpointLimit = 1 << 20

// endpoint is what an HTTP endpoint shows to whoever asks, without any trust in it. What is of a certificate is empty without TLS.
type endpoint struct {
	SPIFFEID  string          `json:"spiffe_id"`
	NotAfter  time.Time       `json:"not_after"`
	Issuer    string          `json:"issuer"`
	DNSNames  []string        `json:"dns_names"`
	Document  json.RawMessage `json:"document"`
	FetchedAt time.Time       `json:"fetched_at"`
}

// runEndpoint asks ENDPOINT_URL for its certificate and for the JSON that it serves, and prints both. It verifies nothing: what is
// presented is to be compared by whoever asked, and is shown even when it is wrong. Only where BUNDLE gives a trust bundle, as
// file:/path, an X.509-SVID has to be of it. CONNECT_TO is where to connect instead of the URL's own host, as HOST:PORT: as curl's
// --connect-to, for names that this cluster cannot resolve. With DOCUMENT=text what is served need not be JSON.
func runEndpoint(ctx context.Context) error {
	address, err := required("ENDPOINT_URL")
	if err != nil {
		return err
	}
	timeout, err := duration("REQUEST_TIMEOUT", 10*time.Second)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if instead := os.Getenv("CONNECT_TO"); instead != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, instead)
		}
	}
	client := &http.Client{Transport: transport}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("unable to ask the endpoint: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, endpointLimit))
	if err != nil {
		return err
	}
	if os.Getenv("DOCUMENT") == "text" {
		if body, err = json.Marshal(string(body)); err != nil {
			return err
		}
	}
	if response.StatusCode != http.StatusOK || !json.Valid(body) {
		return fmt.Errorf("the endpoint answered %s: %.200q", response.Status, body)
	}
	found := endpoint{Document: body, FetchedAt: time.Now().UTC()}
	if response.TLS != nil {
		presented := response.TLS.PeerCertificates
		found.NotAfter, found.Issuer, found.DNSNames = presented[0].NotAfter, presented[0].Issuer.String(), presented[0].DNSNames
		// An ID that is none is shown as empty.
		if id, err := x509svid.IDFromCert(presented[0]); err == nil {
			found.SPIFFEID = id.String()
			if err := verifyByBundle(id, presented); err != nil {
				return err
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// verifyByBundle verifies an X.509-SVID by the trust bundle that BUNDLE gives, if it gives one.
func verifyByBundle(id spiffeid.ID, presented []*x509.Certificate) error {
	path, isFile := strings.CutPrefix(os.Getenv("BUNDLE"), "file:")
	if !isFile {
		return nil
	}
	bundle, err := spiffebundle.Load(id.TrustDomain(), path)
	if err != nil {
		return fmt.Errorf("BUNDLE: %w", err)
	}
	if _, _, err := x509svid.Verify(presented, bundle); err != nil {
		return fmt.Errorf("the endpoint presented what its trust bundle does not verify: %w", err)
	}
	return nil
}
