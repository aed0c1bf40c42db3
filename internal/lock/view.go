// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/codis-io/codis-operator/internal/topology"
)

// State of a lock in its store.
type State string

// States of a lock.
const (
	// Nothing: the store has nothing of the product.
	Nothing State = "nothing"
	// Free: the store has the product, and nobody has its lock.
	Free State = "free"
	// Taken: the lock is that of a dashboard.
	Taken State = "taken"
	// Pinned: the product is to be removed, and nobody can take or release the lock.
	Pinned State = "pinned"
)

// Session is one run of a dashboard: no other has the same token and start time.
type Session struct {
	Token     string `json:"token"`
	StartTime string `json:"start_time"`
}

// Known tells whether it says anything.
func (s Session) Known() bool { return s.Token != "" && s.StartTime != "" }

// Tombstone says whose deletion removes a product.
type Tombstone struct {
	// Owner is the UID of the object that is deleted.
	Owner string `json:"owner"`
	// Dashboard is its namespace and name, for people.
	Dashboard string `json:"dashboard"`
	// Lock is what the lock was before.
	Lock string `json:"lock"`
}

func (t *Tombstone) name() string {
	if t == nil || t.Dashboard == "" {
		return "unknown"
	}
	return t.Dashboard
}

// View is a lock as it is in the store.
type View struct {
	State State
	// Session and Addr of the dashboard that took the lock, where one has it.
	Session Session
	Addr    string
	// Tombstone of a lock that is pinned; nil if it has none that can be read.
	Tombstone *Tombstone
	// Missed tells that the lock was another one than the tombstone says when it was
	// pinned, and whoever did it has not taken it back yet.
	Missed bool

	found topology.Found
}

// Read looks at a lock. An error says that the store did not answer, or that the lock
// is none of a dashboard.
func Read(ctx context.Context, l Lock) (View, error) {
	found, err := l.Topology().Look(ctx)
	if err != nil {
		return View{}, fmt.Errorf("read the lock of %s: %w", l.Product, err)
	}
	return viewOf(found)
}

// Reader looks at a lock again and again, for one caller at a time, at the least cost for
// its store.
type Reader struct{ looker topology.Looker }

// NewReader returns one for a lock. It is to be closed.
func NewReader(l Lock) *Reader { return &Reader{topology.Looker{Product: l.Topology()}} }

// Read is the Read of the package.
func (r *Reader) Read(ctx context.Context) (View, error) {
	found, err := r.looker.Look(ctx)
	if err != nil {
		return View{}, fmt.Errorf("read the lock of %s: %w", r.looker.Product.Name, err)
	}
	return viewOf(found)
}

// Close lets go of what it keeps from one look to the next.
func (r *Reader) Close() { r.looker.Close() }

// viewOf reads what was found. A ZooKeeper has the lock beside the tombstone. It is pure.
func viewOf(found topology.Found) (View, error) {
	v := View{State: Free, found: found}
	switch {
	case found.Pinned:
		v.State = Pinned
		t := &Tombstone{}
		if len(found.Tombstone) > 0 && json.Unmarshal(found.Tombstone, t) == nil && t.Owner != "" {
			v.Tombstone, v.Missed = t, found.Lock != nil && string(found.Lock) != t.Lock
		}
	case !found.Exists:
		v.State = Nothing
	case len(found.Lock) > 0:
		holder := struct {
			Session
			Addr string `json:"admin_addr"`
		}{}
		if err := json.Unmarshal(found.Lock, &holder); err != nil || holder.Addr == "" {
			return View{}, fmt.Errorf("it is no lock of a dashboard: %.100q", found.Lock)
		}
		v.State, v.Session, v.Addr = Taken, holder.Session, holder.Addr
	}
	return v, nil
}

// Pin puts a tombstone into a lock that is as it was seen, and tells whether it did.
func Pin(ctx context.Context, l Lock, v View, t Tombstone) (bool, error) {
	t.Lock = string(v.found.Lock)
	text, err := json.Marshal(t)
	if err != nil {
		return false, err
	}
	return l.Topology().Pin(ctx, v.found, text)
}

// Unpin takes back what Pin did.
func Unpin(ctx context.Context, l Lock, v View) error {
	if v.Tombstone == nil {
		return errNoTombstone
	}
	return l.Topology().Unpin(ctx, v.found.Tombstone, []byte(v.Tombstone.Lock))
}

// Remove removes the product whose lock is pinned as it was seen.
func Remove(ctx context.Context, l Lock, v View) error {
	if v.Tombstone == nil {
		return errNoTombstone
	}
	return l.Topology().Remove(ctx, v.found.Tombstone)
}

var errNoTombstone = errors.New("the lock has no tombstone")
