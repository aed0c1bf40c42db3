// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package roster has the words that ensembles of every kind share: who belongs to
// one, and how a member sees itself. Its JSON forms are those of etcd's gateway.
// It refuses to know how anybody is asked.
package roster

import (
	"bytes"
	"strconv"
)

// ID of a member or an ensemble.
type ID uint64

// Unknown is somebody who must be there and was not seen.
const Unknown = ^ID(0)

// String returns the hexadecimal form that etcd logs.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// ParseID reads what String returns.
func ParseID(text string) (ID, error) {
	number, err := strconv.ParseUint(text, 16, 64)
	return ID(number), err
}

// MarshalJSON implements json.Marshaler: the gateway wants 64 bits as a string.
func (id ID) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatUint(uint64(id), 10) + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (id *ID) UnmarshalJSON(text []byte) error {
	number, err := strconv.ParseUint(string(bytes.Trim(text, `"`)), 10, 64)
	*id = ID(number)
	return err
}

// Member as the ensemble lists it.
type Member struct {
	ID       ID       `json:"ID"`
	Name     string   `json:"name"`
	PeerURLs []string `json:"peerURLs"`
	Learner  bool     `json:"isLearner"`
}

// Started tells whether the member has ever joined: it has its name then.
func (m Member) Started() bool { return m.Name != "" }

// Status of one member.
type Status struct {
	ClusterID, MemberID ID
	// Leader that the member follows; 0 for none.
	Leader ID
	// Index of the log that the member has, and what of it is applied.
	Index, Applied uint64
	Learner        bool
	Version        string
}

// Alarm that a member raised.
type Alarm struct {
	MemberID ID     `json:"memberID"`
	Kind     string `json:"alarm"`
}

// Kinds of alarms.
const (
	AlarmNoSpace = "NOSPACE"
	AlarmCorrupt = "CORRUPT"
)
