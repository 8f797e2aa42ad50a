package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

// authenticate passes a request on to next when its bearer token is a JWT-SVID for one of audiences, signed by an authority
// in bundles. The token itself never reaches the log.
func authenticate(bundles jwtbundle.Source, audiences []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearerToken(r.Header.Get("Authorization"))
		if !ok {
			log.Print("Invalid or unsupported authorization header")
			refuse(w, "Invalid or unsupported authorization header")
			return
		}
		svid, err := jwtsvid.ParseAndValidate(token, bundles, audiences)
		if err != nil {
			log.Printf("Invalid token: %v", err)
			refuse(w, "Invalid token")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, svid.ID)))
	})
}

// bearerToken takes the token out of an Authorization header. The scheme's name is case-insensitive (RFC 9110, 11.1).
func bearerToken(header string) (string, bool) {
	fields := strings.Fields(header)
	if len(fields) != 2 || !strings.EqualFold(fields[0], "Bearer") {
		return "", false
	}
	return fields[1], true
}

func refuse(w http.ResponseWriter, reason string) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, reason, http.StatusUnauthorized)
}

type callerKey struct{}

func index(w http.ResponseWriter, r *http.Request) {
	caller, _ := r.Context().Value(callerKey{}).(spiffeid.ID)
	log.Printf("Request received from %s", caller)
	_, _ = io.WriteString(w, "Success!!!")
}
