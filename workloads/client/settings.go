package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// settings come from the environment. Bad values are refused before anything is tried.
type settings struct {
	serverURL       string
	audience        string        // of the JWT-SVID
	expectedServer  spiffeid.ID   // of the server's X509-SVID
	identityTimeout time.Duration // how long to wait for an identity of one's own
	requestTimeout  time.Duration // for one request, its JWT-SVID included
}

func settingsFromEnvironment(defaultRequestTimeout time.Duration) (settings, error) {
	var set settings
	var err error
	if set.serverURL, err = required("SERVER_URL"); err != nil {
		return set, err
	}
	if address, err := url.Parse(set.serverURL); err != nil || address.Scheme != "https" || address.Host == "" {
		return set, fmt.Errorf("SERVER_URL: %q is not an https URL", set.serverURL)
	}
	if set.audience, err = required("AUDIENCE"); err != nil {
		return set, err
	}
	// In the tutorial one value is both the audience asked for and the ID the server must have.
	expected := os.Getenv("EXPECTED_SERVER_ID")
	if expected == "" {
		expected = set.audience
	}
	if set.expectedServer, err = spiffeid.FromString(expected); err != nil {
		return set, fmt.Errorf("EXPECTED_SERVER_ID (AUDIENCE when absent): %q: %w", expected, err)
	}
	if set.identityTimeout, err = duration("IDENTITY_TIMEOUT", 60*time.Second); err != nil {
		return set, err
	}
	set.requestTimeout, err = duration("REQUEST_TIMEOUT", defaultRequestTimeout)
	return set, err
}

func required(name string) (string, error) {
	value := os.Getenv(name)
	if value == "" {
		return "", fmt.Errorf("%s is not set", name)
	}
	return value, nil
}

func duration(name string, otherwise time.Duration) (time.Duration, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	value, err := time.ParseDuration(text)
	if err != nil || value <= 0 {
		return 0, fmt.Errorf("%s: %q is not a positive duration such as 2s", name, text)
	}
	return value, nil
}

// bearer says what BEARER makes of the Authorization header.
type bearer struct {
	fetch bool   // a fresh JWT-SVID
	token string // otherwise this; none when empty
	send  bool
}

func bearerFromEnvironment() (bearer, error) {
	value := os.Getenv("BEARER")
	path, isFile := strings.CutPrefix(value, "file:")
	switch {
	case value == "":
		return bearer{fetch: true, send: true}, nil
	case value == "none":
		return bearer{}, nil
	case isFile:
		content, err := os.ReadFile(path)
		if err != nil {
			return bearer{}, fmt.Errorf("BEARER: %w", err)
		}
		// A header cannot hold the newline that most files end with.
		return bearer{token: strings.TrimRight(string(content), "\r\n"), send: true}, nil
	}
	// The value is not repeated: it may be a token that was put here by mistake.
	return bearer{}, errors.New("BEARER: neither empty, nor none, nor file:/path")
}

func requestRateFromEnvironment() (float64, error) {
	text := os.Getenv("REQUEST_RATE")
	if text == "" {
		return 5, nil
	}
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate > 0 && rate <= 1000) {
		return 0, fmt.Errorf("REQUEST_RATE: %q is not a number of requests per second above 0 and up to 1000", text)
	}
	return rate, nil
}

func keepConnectionsFromEnvironment() (bool, error) {
	switch value := os.Getenv("CONNECTIONS"); value {
	case "new":
		return false, nil
	case "", "kept":
		return true, nil
	default:
		return false, fmt.Errorf("CONNECTIONS: %q is neither new nor kept", value)
	}
}
