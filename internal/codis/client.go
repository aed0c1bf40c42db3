// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package codis speaks the HTTP API of codis-dashboard and codis-proxy. It owns
// their JSON, their errors and their xauth. It refuses to decide anything and
// knows nothing of Kubernetes.
package codis

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// callTimeout bounds every call. The dashboard holds one mutex while it pushes
// to proxies, with a dial timeout of 1 s for each dead one, so that a call of
// ours may wait for somebody else's.
const callTimeout = 10 * time.Second

// maxAnswer bounds what is read of an answer: 1024 slots and the INFO of some
// thousand servers stay far below.
const maxAnswer = 64 << 20

// RemoteError is an error that a dashboard or proxy answered with. Codis uses
// the HTTP statuses 800 and 1500 for them.
type RemoteError struct {
	Status int
	Cause  string
}

func (e *RemoteError) Error() string { return e.Cause }

// TransportError is a call that was not answered: whether it was carried out is
// not known. Its text is the same each time: the port of a connection that broke
// would make conditions change from one pass to the next.
type TransportError struct {
	// Addr that was called.
	Addr string
	err  error
}

func (e *TransportError) Error() string {
	var network net.Error
	switch {
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return e.Addr + " refuses connections"
	case errors.As(e.err, &network) && network.Timeout():
		return e.Addr + " does not answer in time"
	}
	if dns, ok := errors.AsType[*net.DNSError](e.err); ok {
		return dns.Name + " cannot be resolved"
	}
	return e.Addr + " broke the connection"
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.err }

// transport is shared, so that connections to a dashboard are kept and reused.
var transport = &http.Transport{
	DialContext:         dial,
	MaxIdleConnsPerHost: 2,
	IdleConnTimeout:     30 * time.Second,
}

// dial connects so that what was sent and did not arrive is dropped once nobody waits for
// the answer. The kernel would go on sending it for minutes: a lock of slots would arrive
// when the network is whole again, long after everything was unlocked.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

var httpClient = &http.Client{Transport: transport, Timeout: callTimeout}

// XAuth derives the token that every API call carries from its segments: the
// product name for a dashboard; product name, product password and token for a
// proxy. For a dashboard it is therefore no secret.
func XAuth(segments ...string) string {
	var text strings.Builder
	text.WriteString("Codis-XAuth")
	for _, segment := range segments {
		text.WriteString("-[" + segment + "]")
	}
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:16])
}

// Dashboard is a client of one codis-dashboard.
type Dashboard struct {
	// Addr is host:port of its HTTP API.
	Addr string
	// Product that it owns.
	Product string
}

// Stats returns the whole topology. It fails with a RemoteError while the
// dashboard does not hold its lock.
func (d Dashboard) Stats(ctx context.Context) (*Stats, error) {
	stats := &Stats{}
	// With the xauth, the dashboard of another product refuses to answer.
	if err := get(ctx, d.Addr, "/api/topom/stats/"+XAuth(d.Product), stats); err != nil {
		return nil, err
	}
	if len(stats.Slots) != Slots {
		return nil, fmt.Errorf("dashboard %s knows %d slots, want %d", d.Addr, len(stats.Slots), Slots)
	}
	return stats, nil
}

// Version returns the version and the product name that a dashboard reports.
func (d Dashboard) Version(ctx context.Context) (version, product string, err error) {
	var overview struct {
		Version string `json:"version"`
		Model   struct {
			Product string `json:"product_name"`
		} `json:"model"`
	}
	err = get(ctx, d.Addr, "/topom", &overview)
	return overview.Version, overview.Model.Product, err
}

// Model returns what a dashboard says of itself, whether or not it holds its lock.
func (d Dashboard) Model(ctx context.Context) (*Topom, error) {
	model := &Topom{}
	return model, get(ctx, d.Addr, "/topom/model", model)
}

// CreateGroup makes an empty group.
func (d Dashboard) CreateGroup(ctx context.Context, group int) error {
	return d.put(ctx, nil, "group/create", strconv.Itoa(group))
}

// RemoveGroup removes a group that has no servers. The dashboard does not look
// at slots: whoever calls has.
func (d Dashboard) RemoveGroup(ctx context.Context, group int) error {
	return d.put(ctx, nil, "group/remove", strconv.Itoa(group))
}

// AddServer appends a server to a group; the first becomes the master. It sends
// nothing to the server.
func (d Dashboard) AddServer(ctx context.Context, group int, addr string) error {
	return d.put(ctx, nil, "group/add", strconv.Itoa(group), addr)
}

// RemoveServer takes a server out of a group. The master can only go as the
// last one of a group that owns no slot.
func (d Dashboard) RemoveServer(ctx context.Context, group int, addr string) error {
	return d.put(ctx, nil, "group/del", strconv.Itoa(group), addr)
}

// Promote makes a server the master of its group and pushes the new routes to
// every proxy. Called again with the same server it finishes a promotion that
// was left half-done. It checks no lag and repoints no other replica, and it
// does not fail if the server could not be made master: verify with INFO.
func (d Dashboard) Promote(ctx context.Context, group int, addr string) error {
	return d.put(ctx, nil, "group/promote", strconv.Itoa(group), addr)
}

// ResyncGroup pushes the routes of a group's slots to every proxy.
func (d Dashboard) ResyncGroup(ctx context.Context, group int) error {
	return d.put(ctx, nil, "group/resync", strconv.Itoa(group))
}

// AssignSlots gives slots to groups without moving data, and drops whatever
// move of them is under way: only for slots that nobody owns.
func (d Dashboard) AssignSlots(ctx context.Context, slots []SlotMapping) error {
	return d.put(ctx, slots, "slots/assign")
}

// OnlineProxy registers the proxy at an admin address and brings it online. It
// is safe to repeat.
func (d Dashboard) OnlineProxy(ctx context.Context, adminAddr string) error {
	return d.put(ctx, nil, "proxy/online", adminAddr)
}

// RemoveProxy removes the entry of a dead proxy. A living one that can be
// reached is shut down first; one that cannot be reached would go on serving
// stale routes: be sure that it is dead.
func (d Dashboard) RemoveProxy(ctx context.Context, token string) error {
	return d.put(ctx, nil, "proxy/remove", token, "1")
}

// StopProxy ends a living proxy and then removes its entry. It fails, and changes
// nothing, if the proxy cannot be reached.
func (d Dashboard) StopProxy(ctx context.Context, token string) error {
	return d.put(ctx, nil, "proxy/remove", token, "0")
}

// put calls /api/topom/<verb>/<xauth>/<params...>.
func (d Dashboard) put(ctx context.Context, body any, verb string, params ...string) error {
	parts := []string{"/api/topom", verb, XAuth(d.Product)}
	for _, param := range params {
		parts = append(parts, url.PathEscape(param))
	}
	path := strings.Join(parts, "/")
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode %s: %w", verb, err)
		}
	}
	// A handler of Codis that panics answers 200 without a body to a client that
	// takes gzip, as Go's does: only the word tells that the call was carried out.
	var answer string
	if err := call(ctx, http.MethodPut, d.Addr, path, payload, &answer); err != nil {
		return err
	}
	if answer != "OK" {
		return fmt.Errorf("%s of %s: the answer is %q, want OK", verb, d.Addr, answer)
	}
	return nil
}

// ProxyModel asks the proxy at an admin address who it is.
func ProxyModel(ctx context.Context, adminAddr string) (*Proxy, error) {
	model := &Proxy{}
	return model, get(ctx, adminAddr, "/proxy/model", model)
}

// ProxyStatus asks the proxy at an admin address how it is.
func ProxyStatus(ctx context.Context, adminAddr string) (*ProxyState, error) {
	state := &ProxyState{}
	return state, get(ctx, adminAddr, "/proxy/stats", state)
}

func get(ctx context.Context, addr, path string, out any) error {
	return call(ctx, http.MethodGet, addr, path, nil, out)
}

func call(ctx context.Context, method, addr, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, addr, withoutURL(err))
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return &TransportError{Addr: addr, err: withoutURL(err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &TransportError{Addr: addr, err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return remoteError(resp.StatusCode, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", addr, err)
	}
	return nil
}

func remoteError(status int, answer []byte) error {
	var body struct {
		Cause string `json:"Cause"`
	}
	if err := json.Unmarshal(answer, &body); err != nil || body.Cause == "" {
		body.Cause = "HTTP status " + strconv.Itoa(status)
	}
	return &RemoteError{Status: status, Cause: body.Cause}
}

// withoutURL strips the URL of an HTTP error: a proxy's carries an xauth that is
// derived from the product password.
func withoutURL(err error) error {
	if wrapped, ok := err.(*url.Error); ok { //nolint:errorlint // http.Client returns exactly this type.
		return wrapped.Err
	}
	return err
}

// IgnoreAlreadyExists drops the error with which the dashboard refuses to make
// what is there: the call had succeeded before. Errors of Codis are texts only.
func IgnoreAlreadyExists(err error) error {
	remote, ok := errors.AsType[*RemoteError](err)
	if ok && strings.Contains(remote.Cause, "already exists") {
		return nil
	}
	return err
}
