// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package seat is what the operator and a starting member of an ensemble agree
// upon: which identity a pod may take, and what it found on its volume. A member
// that lost its log must not vote with its old identity, since it would break
// promises that it forgot; so a pod starts only on the data of the very identity
// that it was given, or empty where that identity has never lived. It refuses to
// know Kubernetes and the store.
package seat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Seat is the identity that a pod may take.
type Seat struct {
	// ID in the ensemble, in hexadecimal; its data is in the directory of that name.
	ID string `json:"id"`
	// Fresh tells that the identity has never lived: it may start empty.
	Fresh bool `json:"fresh,omitempty"`
	// Founder tells that the identity founds the ensemble. Data of another one
	// then comes from an earlier life of the ensemble, and is kept.
	Founder bool `json:"founder,omitempty"`
}

// Encode returns the form that Decode reads.
func (s Seat) Encode() string {
	text, err := json.Marshal(s)
	if err != nil {
		return "" // A string and two booleans always have a JSON form.
	}
	return string(text)
}

// Decode reads a seat.
func Decode(text string) (Seat, error) {
	var s Seat
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return Seat{}, err
	}
	if !identity.MatchString(s.ID) {
		return Seat{}, fmt.Errorf("%q is no identity", s.ID)
	}
	return s, nil
}

// identity is the name of the directory of a member.
var identity = regexp.MustCompile(`^[0-9a-f]{1,16}$`)

// Finding is what a pod found that keeps it from starting.
type Finding struct {
	Kind Kind
	// ID that the finding is about.
	ID string
}

// Kind of a finding.
type Kind string

// Kinds of findings; none is empty.
const (
	// Vacant: the pod has no seat.
	Vacant Kind = "vacant"
	// Emptied: the identity has lived, and its data is gone.
	Emptied Kind = "emptied"
	// Inherited: the volume has the data of an earlier life of the ensemble.
	Inherited Kind = "inherited"
)

// Present tells whether anything keeps the pod from starting.
func (f Finding) Present() bool { return f.Kind != "" }

// String is the form that Parse reads.
func (f Finding) String() string { return strings.TrimSpace(string(f.Kind) + " " + f.ID) }

// Parse reads what a pod said; what it does not know is no finding.
func Parse(text string) Finding {
	kind, id, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch f := (Finding{Kind(kind), id}); f.Kind {
	case Vacant:
		return Finding{Kind: Vacant}
	case Emptied, Inherited:
		if identity.MatchString(id) {
			return f
		}
	}
	return Finding{}
}

// Traces that a member leaves in the directory of its identity as soon as it has
// run, as patterns of file names.
const (
	TraceEtcd      = "member/wal/*.wal"
	TraceZooKeeper = "version-2/currentEpoch"
)

// Check tells whether a pod may start in a seat on the volume at root, and
// clears away the data of identities that were removed. It deletes nothing
// unless the seat's own data is there, or has never been anywhere.
func Check(root string, s Seat, trace string) (Finding, error) {
	others, own, err := scan(root, s.ID, trace)
	switch {
	case err != nil:
		return Finding{}, err
	case !own && !s.Fresh:
		return Finding{Kind: Emptied, ID: s.ID}, nil
	case !own && s.Founder && len(others) > 1:
		return Finding{}, fmt.Errorf("%s has data of %s: remove what is not wanted", root, strings.Join(others, " and "))
	case !own && s.Founder && len(others) == 1:
		return Finding{Kind: Inherited, ID: others[0]}, nil
	}
	var errs []error
	for _, other := range others {
		errs = append(errs, os.RemoveAll(filepath.Join(root, other)))
	}
	return Finding{}, errors.Join(errs...)
}

// scan lists the identities that have data under root.
func scan(root, id, trace string) (others []string, own bool, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, false, err
	}
	for _, entry := range entries {
		if !entry.IsDir() || !identity.MatchString(entry.Name()) {
			continue
		}
		traces, err := filepath.Glob(filepath.Join(root, entry.Name(), filepath.FromSlash(trace)))
		switch {
		case err != nil:
			return nil, false, err
		case entry.Name() == id:
			own = len(traces) > 0
		case len(traces) > 0:
			others = append(others, entry.Name())
		}
	}
	return others, own, nil
}
