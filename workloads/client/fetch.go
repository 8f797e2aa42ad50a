package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// identity is what the Workload API holds for this workload at one moment. Lists are sorted.
type identity struct {
	SPIFFEID        string              `json:"spiffe_id"`
	X509NotAfter    time.Time           `json:"x509_not_after"`
	X509Serial      string              `json:"x509_serial"`    // hexadecimal
	X509Authority   string              `json:"x509_authority"` // which signed it: its key identifier, hexadecimal, as SPIRE names it
	JWTIssuedAt     time.Time           `json:"jwt_issued_at"`
	JWTExpiry       time.Time           `json:"jwt_expiry"`
	JWTAuthority    string              `json:"jwt_authority"`    // which signed it: its key ID
	TrustDomains    []string            `json:"trust_domains"`    // whose bundles are held, X.509 or JWT
	X509Authorities map[string][]string `json:"x509_authorities"` // trust domain -> SHA-256 of each CA certificate's DER
	JWTAuthorities  map[string][]string `json:"jwt_authorities"`  // trust domain -> key IDs
}

func runFetch(ctx context.Context) error {
	audience, err := required("AUDIENCE")
	if err != nil {
		return err
	}
	return askWorkloadAPI(ctx, func(ctx context.Context, api *workloadapi.Client) error {
		x509Context, err := api.FetchX509Context(ctx)
		if err != nil {
			return fmt.Errorf("unable to fetch X509-SVID: %w", err)
		}
		jwtSVID, err := api.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
		if err != nil {
			return fmt.Errorf("unable to fetch JWT-SVID: %w", err)
		}
		jwtBundles, err := api.FetchJWTBundles(ctx)
		if err != nil {
			return fmt.Errorf("unable to fetch JWT bundles: %w", err)
		}
		keyID, err := signedBy(jwtSVID.Marshal())
		if err != nil {
			return err
		}
		found := describe(x509Context, jwtSVID, jwtBundles)
		found.JWTAuthority = keyID
		return json.NewEncoder(os.Stdout).Encode(found)
	})
}

func describe(x509Context *workloadapi.X509Context, jwtSVID *jwtsvid.SVID, jwtBundles *jwtbundle.Set) identity {
	x509SVID := x509Context.DefaultSVID()
	leaf := x509SVID.Certificates[0]
	found := identity{
		SPIFFEID:        x509SVID.ID.String(),
		X509NotAfter:    leaf.NotAfter.UTC(),
		X509Serial:      leaf.SerialNumber.Text(16),
		X509Authority:   hex.EncodeToString(leaf.AuthorityKeyId),
		JWTIssuedAt:     issuedAt(jwtSVID),
		JWTExpiry:       jwtSVID.Expiry,
		X509Authorities: map[string][]string{},
		JWTAuthorities:  map[string][]string{},
	}
	held := map[string]bool{}
	for _, bundle := range x509Context.Bundles.Bundles() {
		name := bundle.TrustDomain().Name()
		held[name] = true
		hashes := []string{}
		for _, authority := range bundle.X509Authorities() {
			hash := sha256.Sum256(authority.Raw)
			hashes = append(hashes, hex.EncodeToString(hash[:]))
		}
		slices.Sort(hashes)
		found.X509Authorities[name] = hashes
	}
	for _, bundle := range jwtBundles.Bundles() {
		name := bundle.TrustDomain().Name()
		held[name] = true
		keyIDs := slices.AppendSeq([]string{}, maps.Keys(bundle.JWTAuthorities()))
		slices.Sort(keyIDs)
		found.JWTAuthorities[name] = keyIDs
	}
	found.TrustDomains = slices.Sorted(maps.Keys(held))
	return found
}

// issuedAt returns a token's claim iat, or the Unix epoch where it has none.
func issuedAt(svid *jwtsvid.SVID) time.Time {
	seconds, _ := svid.Claims["iat"].(float64)
	return time.Unix(int64(seconds), 0).UTC()
}

// signedBy returns the key ID in a token's header, which go-spiffe keeps to itself.
func signedBy(token string) (string, error) {
	encoded, _, _ := strings.Cut(token, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("unable to decode the JWT-SVID's header: %w", err)
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(decoded, &header); err != nil {
		return "", fmt.Errorf("unable to read the JWT-SVID's header: %w", err)
	}
	return header.KeyID, nil
}
