package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// longestAnswer bounds what is read of a response, in bytes: the demo server's answers are one line.
const longestAnswer = 64 << 10

// runJob issues the tutorial's one request. What it prints on the way is the tutorial's log, whose lines tell how far it came.
func runJob(ctx context.Context) error {
	fmt.Println("Starting...")
	set, err := settingsFromEnvironment(30 * time.Second)
	if err != nil {
		return err
	}
	authorization, err := bearerFromEnvironment()
	if err != nil {
		return err
	}

	watch := &watchLog{}
	api, err := connectWorkloadAPI(ctx, watch)
	if err != nil {
		return err
	}
	defer func() { _ = api.Close() }()
	identityCtx, cancel := context.WithTimeout(ctx, set.identityTimeout)
	defer cancel()

	x509Source, err := workloadapi.NewX509Source(identityCtx, workloadapi.WithClient(api))
	if err != nil {
		return fmt.Errorf("unable to create X509Source: %w", watch.explain(err, set.identityTimeout))
	}
	defer func() { _ = x509Source.Close() }()
	fmt.Println("Created Newx509Source")

	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: tlsconfig.TLSClientConfig(x509Source, tlsconfig.AuthorizeID(set.expectedServer)),
		},
		Timeout: set.requestTimeout,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, set.serverURL, nil)
	if err != nil {
		return fmt.Errorf("unable to create request: %w", err)
	}
	fmt.Println("created HTTP client")

	jwtSource, err := workloadapi.NewJWTSource(identityCtx, workloadapi.WithClient(api))
	if err != nil {
		return fmt.Errorf("unable to create JWTSource: %w", watch.explain(err, set.identityTimeout))
	}
	defer func() { _ = jwtSource.Close() }()
	fmt.Println("created JWTSource")

	if authorization.fetch {
		svid, err := fetchJWTSVID(identityCtx, jwtSource, set.audience)
		if err != nil {
			return fmt.Errorf("unable to fetch SVID: %w", err)
		}
		authorization.token = svid.Marshal()
		fmt.Println("fetched JWT SVID")
	}
	if authorization.send {
		request.Header.Set("Authorization", "Bearer "+authorization.token)
	}

	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("unable to issue request to %q: %w", set.serverURL, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return fmt.Errorf("error reading response body: %w", err)
	}
	answer := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		fmt.Println(response.StatusCode, answer)
		os.Exit(1)
	}
	fmt.Println(answer)
	return nil
}
