package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// runValidate asks the Workload API whether the token that BEARER gives is a JWT-SVID for AUDIENCE, and prints whose. The agent
// judges by the bundles that it holds for this workload, foreign ones included.
func runValidate(ctx context.Context) error {
	audience, err := required("AUDIENCE")
	if err != nil {
		return err
	}
	given, err := bearerFromEnvironment()
	if err != nil {
		return err
	}
	if given.token == "" {
		return errors.New("BEARER: a token to validate is expected, as file:/path")
	}
	return askWorkloadAPI(ctx, func(ctx context.Context, api *workloadapi.Client) error {
		svid, err := api.ValidateJWTSVID(ctx, given.token, audience)
		if err != nil {
			return fmt.Errorf("not a valid JWT-SVID: %w", err)
		}
		fmt.Println(svid.ID)
		return nil
	})
}
