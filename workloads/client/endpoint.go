package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// endpointLimit bounds a bundle document: one megabyte holds thousands of keys.
const endpointLimit = 1 << 20

// endpoint is what a bundle endpoint shows to whoever asks, without any trust in it.
type endpoint struct {
	SPIFFEID  string          `json:"spiffe_id"`
	NotAfter  time.Time       `json:"not_after"`
	Issuer    string          `json:"issuer"`
	Document  json.RawMessage `json:"document"`
	FetchedAt time.Time       `json:"fetched_at"`
}

// runEndpoint asks the bundle endpoint at ENDPOINT_URL for its certificate and its bundle, and prints both. It verifies
// nothing: what is presented is to be compared by whoever asked, and is shown even when it is wrong.
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
	var presented *x509.Certificate
	remember := func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 {
			return errors.New("no certificate presented")
		}
		var err error
		presented, err = x509.ParseCertificate(raw[0])
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: remember}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("unable to ask the bundle endpoint: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, endpointLimit))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !json.Valid(body) {
		return fmt.Errorf("the bundle endpoint answered %s: %.200q", response.Status, body)
	}
	found := endpoint{NotAfter: presented.NotAfter, Issuer: presented.Issuer.String(), Document: body, FetchedAt: time.Now().UTC()}
	// An ID that is none is shown as empty.
	if id, err := x509svid.IDFromCert(presented); err == nil {
		found.SPIFFEID = id.String()
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
