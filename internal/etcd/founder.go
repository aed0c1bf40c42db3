// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"crypto/sha1" //nolint:gosec // It is what etcd derives its ids from.
	"encoding/binary"

	"github.com/codis-io/codis-operator/internal/roster"
)

// FounderID is the id that etcd gives the only member of a new ensemble, from
// its peer URL and the token of the ensemble.
func FounderID(peerURL, token string) roster.ID {
	sum := sha1.Sum([]byte(peerURL + token)) //nolint:gosec // As above.
	return roster.ID(binary.BigEndian.Uint64(sum[:]))
}
