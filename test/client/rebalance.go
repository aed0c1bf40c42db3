// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/codis-io/codis-operator/internal/codis"
)

// rebalance asks a dashboard for its own rebalance, and tells when and how many slots
// it queued.
func rebalance(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("client rebalance", flag.ContinueOnError)
	dashboard := flags.String("dashboard", "127.0.0.1:18080", "address of the dashboard")
	product := flags.String("product", "", "name of the product")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *product == "" {
		return errUsage
	}
	url := fmt.Sprintf("http://%s/api/topom/slots/rebalance/%s/1", *dashboard, codis.XAuth(*product))
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, http.NoBody)
	if err != nil {
		return err
	}
	asked := time.Now()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	var plan map[string]int
	if err := errors.Join(err, json.Unmarshal(text, &plan)); err != nil {
		return fmt.Errorf("rebalance: %w", err)
	}
	return json.NewEncoder(out).Encode(map[string]any{"time": asked, "slots": len(plan)})
}
