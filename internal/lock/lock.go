// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package lock finds out who holds the lock of a product, before a dashboard
// starts that would take it from whoever has it. The lock is a key that outlives
// its holder: that it is there says nothing. It refuses to remove anything.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"
)

// timeout bounds each question to a store and to a dashboard.
const timeout = 3 * time.Second

// maxAnswer is more than a lock or a model takes.
const maxAnswer = 1 << 20

// Lock of a product, as a dashboard is about to take it.
type Lock struct {
	// Store is etcd or zookeeper, Addr its members as a comma list, and Auth its
	// login as user:password; empty for none.
	Store, Addr, Auth string
	Product           string
	// Holder is the address of the dashboard that is about to start.
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

// look asks the holder for its product: an address may be somebody else's by now. A
// refusal may come from anything on the way, and says nothing.
func (l Lock) look(ctx context.Context, holder string) Finding {
	text, code, err := get(ctx, "http://"+holder+"/topom/model", "")
	model := struct {
		Product string `json:"product_name"`
	}{}
	switch {
	case err == nil && code == http.StatusOK && json.Unmarshal(text, &model) == nil && model.Product == l.Product:
		return Finding{Kind: Held, Addr: holder}
	case err == nil && code == http.StatusOK, gone(err):
		return Finding{}
	}
	return Finding{Kind: Silent, Addr: holder}
}

// gone tells whether an error says that nobody can be there.
func gone(err error) bool {
	dns, noName := errors.AsType[*net.DNSError](err)
	return errors.Is(err, syscall.ECONNREFUSED) || noName && dns.IsNotFound
}

// read returns the address in the lock; empty if there is none.
func (l Lock) read(ctx context.Context) (string, error) {
	key := "/codis3/" + l.Product + "/topom"
	read := l.readEtcd
	if l.Store == "zookeeper" {
		read = l.readZooKeeper
	}
	text, err := read(ctx, key)
	if err != nil || len(text) == 0 {
		return "", err
	}
	holder := struct {
		Addr string `json:"admin_addr"`
	}{}
	if err := json.Unmarshal(text, &holder); err != nil || holder.Addr == "" {
		return "", fmt.Errorf("it is no lock of a dashboard: %.100q", text)
	}
	return holder.Addr, nil
}

func (l Lock) readEtcd(ctx context.Context, key string) ([]byte, error) {
	var errs []error
	for member := range strings.SplitSeq(l.Addr, ",") {
		text, code, err := get(ctx, "http://"+member+"/v2/keys"+(&url.URL{Path: key}).EscapedPath()+"?quorum=true", l.Auth)
		answer := struct {
			Code int `json:"errorCode"`
			Node struct {
				Value string `json:"value"`
			} `json:"node"`
		}{}
		switch {
		case err != nil:
			errs = append(errs, err)
			continue
		case json.Unmarshal(text, &answer) != nil, code != http.StatusOK && answer.Code != keyNotFound:
			errs = append(errs, fmt.Errorf("%s answers %d", member, code))
			continue
		}
		return []byte(answer.Node.Value), nil
	}
	return nil, errors.Join(errs...)
}

// keyNotFound is what etcd says of a key that is not there.
const keyNotFound = 100

func get(ctx context.Context, target, auth string) (text []byte, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, 0, err
	}
	if user, password, found := strings.Cut(auth, ":"); found {
		request.SetBasicAuth(user, password)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return text, response.StatusCode, err
}

func (l Lock) readZooKeeper(ctx context.Context, key string) ([]byte, error) {
	conn, _, err := zk.Connect(strings.Split(l.Addr, ","), 2*timeout, zk.WithLogger(silent{}))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		var a answer
		if l.Auth != "" {
			a.err = conn.AddAuth("digest", []byte(l.Auth))
		}
		if a.err == nil {
			a.text, _, a.err = conn.Get(key)
		}
		answered <- a
		conn.Close()
	}()
	select {
	case a := <-answered:
		if errors.Is(a.err, zk.ErrNoNode) {
			return nil, nil
		}
		return a.text, a.err
	case <-ctx.Done():
		go conn.Close()
		return nil, ctx.Err()
	}
}

type silent struct{}

// Printf implements zk.Logger.
func (silent) Printf(string, ...any) {}
