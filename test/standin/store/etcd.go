// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// headerTimeout is how long one member of an etcd may take to begin its answer.
const headerTimeout = 5 * time.Second

// The codes of the v2 API that are no trouble.
const (
	etcdKeyNotFound = 100
	etcdNotDir      = 104
)

// Etcd is the etcd coordinator: the v2 keys API over plain HTTP, reads through the quorum. A member that does not
// answer is passed over, and the one that did is asked first the next time.
type Etcd struct {
	endpoints      []string
	user, password string
	http           *http.Client

	mu     sync.Mutex
	pinned int
	closed bool
}

// NewEtcd returns a client for a comma list of addresses; auth is empty or user:password.
func NewEtcd(addrs, auth string) (*Etcd, error) {
	e := &Etcd{http: &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: headerTimeout}}}
	for addr := range strings.SplitSeq(addrs, ",") {
		if !strings.HasPrefix(addr, "http://") {
			addr = "http://" + addr // Also before https://, which becomes nonsense, as upstream.
		}
		if _, err := url.Parse(addr); err != nil {
			return nil, err
		}
		e.endpoints = append(e.endpoints, addr)
	}
	if auth != "" {
		var found bool
		if e.user, e.password, found = strings.Cut(auth, ":"); !found {
			return nil, errors.New("invalid coordinator auth, want user:password")
		}
	}
	return e, nil
}

// etcdError is what the API answers instead of a node.
type etcdError struct {
	Code    int    `json:"errorCode"`
	Message string `json:"message"`
	Cause   string `json:"cause"`
}

// Error implements error.
func (e *etcdError) Error() string { return fmt.Sprintf("%d: %s (%s)", e.Code, e.Message, e.Cause) }

type etcdNode struct {
	Key   string     `json:"key"`
	Value string     `json:"value"`
	Dir   bool       `json:"dir"`
	Nodes []etcdNode `json:"nodes"`
}

// call asks the members in turn, starting with the one that answered last.
func (e *Etcd) call(method, key string, query, form url.Values) (*etcdNode, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errors.New("use of closed etcd client")
	}
	var errs []error
	for i := range e.endpoints {
		member := (e.pinned + i) % len(e.endpoints)
		node, err := e.ask(e.endpoints[member], method, key, query, form)
		var answer *etcdError
		if err == nil || errors.As(err, &answer) && answer.Code < 300 {
			e.pinned = member
			return node, err
		}
		errs = append(errs, err) // Codes from 300 on say that this member has no leader.
	}
	return nil, errors.Join(errs...)
}

func (e *Etcd) ask(endpoint, method, key string, query, form url.Values) (*etcdNode, error) {
	target := endpoint + path.Join("/v2/keys", key)
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if e.user != "" {
		request.SetBasicAuth(e.user, e.password)
	}
	response, err := e.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		failure := &etcdError{}
		if err := json.Unmarshal(body, failure); err != nil || failure.Code == 0 {
			return nil, fmt.Errorf("%s answers %s", endpoint, response.Status)
		}
		return nil, failure
	}
	answer := struct {
		Node etcdNode `json:"node"`
	}{}
	return &answer.Node, json.Unmarshal(body, &answer)
}

func etcdCode(err error, code int) bool {
	var answer *etcdError
	return errors.As(err, &answer) && answer.Code == code
}

// Create implements Client.
func (e *Etcd) Create(key string, value []byte) error {
	_, err := e.call(http.MethodPut, key, url.Values{"prevExist": {"false"}}, url.Values{"value": {string(value)}})
	return err
}

// Update implements Client.
func (e *Etcd) Update(key string, value []byte) error {
	_, err := e.call(http.MethodPut, key, nil, url.Values{"value": {string(value)}})
	return err
}

// Delete implements Client.
func (e *Etcd) Delete(key string) error {
	_, err := e.call(http.MethodDelete, key, nil, nil)
	if etcdCode(err, etcdKeyNotFound) {
		return nil
	}
	return err
}

// Read implements Client.
func (e *Etcd) Read(key string) ([]byte, error) {
	node, err := e.call(http.MethodGet, key, url.Values{"quorum": {"true"}}, nil)
	switch {
	case etcdCode(err, etcdKeyNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case node.Dir:
		return nil, fmt.Errorf("node %s is a directory", key)
	}
	return []byte(node.Value), nil
}

// List implements Client.
func (e *Etcd) List(key string) ([]string, error) {
	node, err := e.call(http.MethodGet, key, url.Values{"quorum": {"true"}}, nil)
	switch {
	case etcdCode(err, etcdKeyNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !node.Dir:
		return nil, &etcdError{Code: etcdNotDir, Message: "Not a directory", Cause: key}
	}
	var keys []string
	for _, n := range node.Nodes {
		keys = append(keys, n.Key)
	}
	slices.Sort(keys)
	return keys, nil
}

// Close implements Client.
func (e *Etcd) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.http.CloseIdleConnections()
	return nil
}
