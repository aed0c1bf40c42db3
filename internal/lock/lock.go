// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package lock finds out who holds the lock of a product, before a dashboard
// starts that would take it from whoever has it, or the product is removed. The
// lock is a key that outlives its holder: that it is there says nothing. It
// refuses to take it from anybody.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/codis-io/codis-operator/internal/topology"
)

// maxAnswer is more than a model takes.
const maxAnswer = 1 << 20

// Lock of a product, as a dashboard is about to take it.
type Lock struct {
	Store   topology.Store
	Product string
	// Holder is the address of the dashboard that is about to start, or that had
	// the lock and has ended.
	Holder string
}

// Finding is what keeps a dashboard from taking the lock.
type Finding struct {
	Kind Kind
	// Addr of whoever has the lock.
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
)

// Present tells whether anything keeps the dashboard from taking the lock.
func (f Finding) Present() bool { return f.Kind != "" }

// String is the form that Parse reads.
func (f Finding) String() string { return strings.TrimSpace(string(f.Kind) + " " + f.Addr) }

// Parse reads what a pod said; what it does not know is no finding.
func Parse(text string) Finding {
	kind, addr, _ := strings.Cut(strings.TrimSpace(text), " ")
	if f := (Finding{Kind(kind), addr}); addr != "" && (f.Kind == Held || f.Kind == Silent) {
		return f
	}
	return Finding{}
}

// Check tells whether the lock may be taken: nobody has it, the dashboard itself
// had it, or whoever has it cannot be running, because its name is gone or its
// host refuses. Silence is no proof of that. An error says that the store did
// not answer.
func Check(ctx context.Context, l Lock) (Finding, error) {
	holder, err := l.read(ctx)
	if err != nil {
		return Finding{}, fmt.Errorf("read the lock of %s: %w", l.Product, err)
	}
	if holder == "" || holder == l.Holder {
		return Finding{}, nil
	}
	return l.look(ctx, holder), nil
}

// Take is Check that takes the lock for the holder where nobody has it, so that
// nobody else starts meanwhile.
func Take(ctx context.Context, l Lock) (Finding, error) {
	value, err := json.Marshal(content{Addr: l.Holder, Product: l.Product})
	if err != nil {
		return Finding{}, err
	}
	if created, err := l.Store.Create(ctx, l.key(), value); created || err != nil {
		return Finding{}, err
	}
	return Check(ctx, l)
}

// content of a lock is what a dashboard says of itself; these fields matter.
type content struct {
	Addr    string `json:"admin_addr"`
	Product string `json:"product_name"`
}

// look asks the holder for its product: an address may be somebody else's by now.
func (l Lock) look(ctx context.Context, holder string) Finding {
	text, err := get(ctx, "http://"+holder+"/topom/model")
	var model content
	switch {
	case err == nil && json.Unmarshal(text, &model) == nil && model.Product == l.Product:
		return Finding{Kind: Held, Addr: holder}
	case err == nil, gone(err):
		return Finding{}
	}
	return Finding{Kind: Silent, Addr: holder}
}

// gone tells whether an error says that nobody can be there.
func gone(err error) bool {
	dns, noName := errors.AsType[*net.DNSError](err)
	return errors.Is(err, syscall.ECONNREFUSED) || noName && dns.IsNotFound
}

func (l Lock) key() string { return topology.Root(l.Product) + "/topom" }

// read returns the address in the lock; empty if there is none.
func (l Lock) read(ctx context.Context) (string, error) {
	text, err := l.Store.Get(ctx, l.key())
	if err != nil || len(text) == 0 {
		return "", err
	}
	var holder content
	if err := json.Unmarshal(text, &holder); err != nil || holder.Addr == "" {
		return "", fmt.Errorf("it is no lock of a dashboard: %s", text)
	}
	return holder.Addr, nil
}

func get(ctx context.Context, target string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, topology.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return io.ReadAll(io.LimitReader(response.Body, maxAnswer))
}
