// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package lock finds out who holds the lock of a product, before a dashboard
// starts that would take it from whoever has it, or the product is removed. The
// lock is a key that outlives its holder: that it is there says nothing. It refuses
// to remove anything by itself.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/codis-io/codis-operator/internal/topology"
)

// maxAnswer is more than a model takes.
const maxAnswer = 1 << 20

// Lock of a product, as a dashboard is about to take it.
type Lock struct {
	// Store is etcd or zookeeper, Addr its members as a comma list, and Auth its
	// login as user:password; empty for none.
	Store, Addr, Auth string
	Product           string
	// Holder is the address of the dashboard that is about to start.
	Holder string
	// Runs that the pod has had, which is about to start a dashboard: a lock of another
	// run of that address is that of its successor. Empty for a new pod, which takes it
	// from whoever had the address before.
	Runs []Session
	// Foreign tells that dashboards may use the store that are not of this Kubernetes cluster:
	// what their names and addresses lead to here says nothing of them.
	Foreign bool
}

// mayHaveHad tells whether a run may have been one of the pod, or of one before it.
func (l Lock) mayHaveHad(run Session) bool {
	return len(l.Runs) == 0 || !run.Known() || slices.Contains(l.Runs, run)
}

// Topology is where the product is kept that the lock is of.
func (l Lock) Topology() topology.Product {
	return topology.Product{Kind: l.Store, Addr: l.Addr, Auth: l.Auth, Name: l.Product}
}

// Finding is what keeps a dashboard from taking the lock.
type Finding struct {
	Kind Kind
	// Addr of whoever has the lock; whose deletion removes the product.
	Addr string
}

// Kind of a finding.
type Kind string

// Kinds of findings; none is empty.
const (
	// Held: another dashboard has the lock, and answers.
	Held Kind = "held"
	// Silent: another dashboard has the lock; whether it lives is not known.
	Silent Kind = "silent"
	// Removing: the product is being removed.
	Removing Kind = "removing"
)

// Present tells whether anything keeps the dashboard from taking the lock.
func (f Finding) Present() bool { return f.Kind != "" }

// String is the form that Parse reads.
func (f Finding) String() string { return strings.TrimSpace(string(f.Kind) + " " + f.Addr) }

// Parse reads what a pod said; what it does not know is no finding.
func Parse(text string) Finding {
	kind, addr, _ := strings.Cut(strings.TrimSpace(text), " ")
	f := Finding{Kind(kind), addr}
	if addr != "" && (f.Kind == Held || f.Kind == Silent || f.Kind == Removing) {
		return f
	}
	return Finding{}
}

// Check tells whether the lock may be taken: nobody has it, the dashboard itself
// had it, or whoever has it cannot be running, because its name is gone or its
// host refuses, where these are of this Kubernetes cluster. Silence is no proof of that,
// and nobody may take the lock of a product that is being removed. An error says that
// the store did not answer.
func Check(ctx context.Context, l Lock) (Finding, error) {
	v, err := Read(ctx, l)
	switch {
	case err != nil:
		return Finding{}, err
	case v.State == Pinned:
		return Finding{Kind: Removing, Addr: v.Tombstone.name()}, nil
	case v.State != Taken || v.Addr == l.Holder && l.mayHaveHad(v.Session):
		return Finding{}, nil
	case v.Addr == l.Holder:
		return Finding{Kind: Held, Addr: v.Addr}, nil
	}
	return l.look(ctx, v.Addr), nil
}

// Await is Check for who cannot start before the store answers: it asks again until it
// does, and says why it waits, once for each reason. It ends early with the context.
func Await(ctx context.Context, l Lock, pause time.Duration, say func(why string)) (Finding, error) {
	said := ""
	for {
		found, err := Check(ctx, l)
		if err == nil {
			return found, nil
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			say(said)
		}
		select {
		case <-ctx.Done():
			return Finding{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// look asks the holder for its product: an address may be somebody else's by now, unless
// it is an address somewhere else. A refusal may come from anything on the way, and says
// nothing.
func (l Lock) look(ctx context.Context, holder string) Finding {
	text, code, err := get(ctx, "http://"+holder+"/topom/model")
	model := struct {
		Product string `json:"product_name"`
	}{}
	switch {
	case err == nil && code == http.StatusOK && json.Unmarshal(text, &model) == nil && model.Product == l.Product:
		return Finding{Kind: Held, Addr: holder}
	case !l.Foreign && (err == nil && code == http.StatusOK || gone(err)):
		return Finding{}
	}
	return Finding{Kind: Silent, Addr: holder}
}

// gone tells whether an error says that nobody can be there.
func gone(err error) bool {
	dns, noName := errors.AsType[*net.DNSError](err)
	return errors.Is(err, syscall.ECONNREFUSED) || noName && dns.IsNotFound
}

func get(ctx context.Context, target string) (text []byte, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, topology.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return text, response.StatusCode, err
}
