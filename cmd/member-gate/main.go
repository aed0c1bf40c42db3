// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command member-gate runs as an init container of a member of an ensemble: it
// lets the member start only in the identity that it was given, on the data of
// that identity. What keeps it from starting it tells the operator in the
// message that a container leaves when it ends.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/codis-io/codis-operator/internal/seat"
)

func main() {
	file := flag.String("seat", "", "File with the seat of the member; a missing one means that it has none.")
	volume := flag.String("volume", "", "Directory with the data.")
	message := flag.String("message", "/dev/termination-log", "File that takes what keeps the member from starting.")
	flag.Parse()
	if err := pass(*file, *volume, *message); err != nil {
		fmt.Fprintln(os.Stderr, "member-gate:", err)
		os.Exit(1)
	}
}

func pass(file, volume, message string) error {
	found, err := look(file, volume)
	if err != nil || !found.Present() {
		return err
	}
	if err := os.WriteFile(message, []byte(found.String()), 0o600); err != nil {
		return err
	}
	return fmt.Errorf("the member must not start: %s", found)
}

func look(file, volume string) (seat.Finding, error) {
	text, err := os.ReadFile(file) //nolint:gosec // The operator chose the path.
	if errors.Is(err, os.ErrNotExist) {
		return seat.Finding{Kind: seat.Vacant}, nil
	}
	if err != nil {
		return seat.Finding{}, err
	}
	s, err := seat.Decode(string(text))
	if err != nil {
		return seat.Finding{}, fmt.Errorf("%s: %w", file, err)
	}
	return seat.Check(volume, s)
}
