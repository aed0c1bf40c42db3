// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Error codes of the v2 API of etcd that are answers.
const (
	keyNotFound  = 100
	testFailed   = 101
	notDirectory = 104
	nodeExists   = 105
	notEmpty     = 108
)

// maxAnswer is more than a product of some thousand keys takes.
const maxAnswer = 16 << 20

// removers is how many keys are removed at a time.
const removers = 8

// transport dials quickly, so that a member that is away does not keep the next one waiting.
var transport = &http.Transport{
	DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
	MaxIdleConnsPerHost: removers,
	IdleConnTimeout:     2 * time.Second,
}

// etcd keeps a lock as a value. Pinned, it is a directory with the tombstone.
type etcd struct{ Product }

type node struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Dir   bool   `json:"dir"`
	Nodes []node `json:"nodes"`
	Index uint64 `json:"modifiedIndex"`
}

// answer of the v2 API.
type answer struct {
	Code int  `json:"errorCode"`
	Node node `json:"node"`
}

func (s etcd) look(ctx context.Context) (Found, error) {
	a, err := s.ask(ctx, http.MethodGet, s.lockKey(), url.Values{"quorum": {"true"}, "recursive": {"true"}}, true)
	switch {
	case err != nil:
		return Found{}, err
	case a.Code == 0 && !a.Node.Dir:
		return Found{Exists: true, Lock: []byte(a.Node.Value), version: a.Node.Index}, nil
	case a.Code == 0:
		found := Found{Exists: true, Pinned: true}
		for _, below := range a.Node.Nodes {
			if below.Key == s.tombstoneKey() {
				found.Tombstone = []byte(below.Value)
			}
		}
		return found, nil
	}
	a, err = s.ask(ctx, http.MethodGet, Root(s.Name), url.Values{"quorum": {"true"}}, true)
	return Found{Exists: a.Code == 0 && len(a.Node.Nodes) > 0}, err
}

// pin makes a directory of the lock in two steps, since the API has none that does:
// the lock is deleted only as it was found, and the tombstone made only where no
// dashboard took the lock since. Whoever dies in between leaves a product that nobody
// has locked.
func (s etcd) pin(ctx context.Context, found Found, tombstone []byte) (bool, error) {
	a, err := s.deleteAt(ctx, s.lockKey(), found.version)
	if err != nil || a.Code != 0 {
		return false, unexpected(a, err, testFailed, keyNotFound)
	}
	a, err = s.ask(ctx, http.MethodPut, s.tombstoneKey(),
		url.Values{"prevExist": {"false"}, "value": {string(tombstone)}}, true)
	if err != nil || a.Code == 0 || a.Code == notDirectory {
		return err == nil && a.Code == 0, err
	}
	now, err := s.look(ctx) // It was made, and the answer lost.
	return bytes.Equal(now.Tombstone, tombstone), err
}

func (s etcd) unpin(ctx context.Context, tombstone, lock []byte) error {
	now, err := s.look(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.Tombstone, tombstone) {
		return ErrChanged
	}
	if err := s.free(ctx); err != nil {
		return err
	}
	a, err := s.ask(ctx, http.MethodPut, s.lockKey(), url.Values{"prevExist": {"false"}, "value": {string(lock)}}, false)
	return unexpected(a, err, nodeExists)
}

// free takes a pinned lock away with its tombstone. The API has no condition for that:
// whoever calls has just seen that it is pinned, which nobody but it takes back. A
// member that hangs could carry it out late; then a dashboard that has started since
// loses its lock, and nothing else.
func (s etcd) free(ctx context.Context) error {
	a, err := s.ask(ctx, http.MethodDelete, s.lockKey(), url.Values{"recursive": {"true"}}, false)
	return unexpected(a, err, keyNotFound)
}

// sweep removes the directory of a product, if it is empty.
func (s etcd) sweep(ctx context.Context) error {
	a, err := s.ask(ctx, http.MethodDelete, Root(s.Name), url.Values{"dir": {"true"}}, false)
	return unexpected(a, err, keyNotFound, notEmpty)
}

// remove deletes each key as it was seen, and no directory that has anything in it:
// one request for everything could be carried out late by a member that hung, when
// somebody else has made the product anew.
func (s etcd) remove(ctx context.Context, tombstone []byte) error {
	files, directories, err := s.list(ctx, tombstone)
	if err != nil {
		return err
	}
	if err := s.removeAll(ctx, files); err != nil {
		return err
	}
	slices.SortFunc(directories, func(a, b node) int { return cmp.Compare(len(b.Key), len(a.Key)) })
	for _, n := range directories {
		a, err := s.ask(ctx, http.MethodDelete, n.Key, url.Values{"dir": {"true"}}, false)
		if err := unexpected(a, err, keyNotFound); err != nil {
			return err
		}
	}
	files, directories, err = s.list(ctx, tombstone)
	if err != nil {
		return err
	}
	if len(files)+len(directories) > 0 {
		return ErrChanged
	}
	if err := s.free(ctx); err != nil {
		return err
	}
	return s.sweep(ctx)
}

// list returns what there is of a product beside its pinned lock, which must have the tombstone.
func (s etcd) list(ctx context.Context, tombstone []byte) (files, directories []node, err error) {
	a, err := s.ask(ctx, http.MethodGet, Root(s.Name), url.Values{"quorum": {"true"}, "recursive": {"true"}}, true)
	if err != nil {
		return nil, nil, err
	}
	pinned := false
	walk(a.Node, func(n node) {
		switch {
		case n.Key == s.tombstoneKey():
			pinned = n.Value == string(tombstone)
		case n.Key == s.lockKey(), n.Key == Root(s.Name):
		case n.Dir:
			directories = append(directories, n)
		default:
			files = append(files, n)
		}
	})
	if !pinned {
		return nil, nil, ErrChanged
	}
	return files, directories, nil
}

// walk visits a node and all below it.
func walk(n node, visit func(node)) {
	visit(n)
	for _, below := range n.Nodes {
		walk(below, visit)
	}
}

// removeAll deletes keys as they were seen, some at a time.
func (s etcd) removeAll(ctx context.Context, files []node) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan node)
	var workers sync.WaitGroup
	var removed atomic.Int32
	for range removers {
		workers.Go(func() {
			for n := range work {
				a, err := s.deleteAt(ctx, n.Key, n.Index)
				if err := unexpected(a, err, keyNotFound); err != nil {
					cancel(err)
					continue
				}
				removed.Add(1)
			}
		})
	}
	for _, n := range files {
		if ctx.Err() != nil {
			break
		}
		work <- n
	}
	close(work)
	workers.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) && removed.Load() > 0 {
		return ErrUnfinished
	}
	return err
}

// deleteAt deletes a key if nobody has written it since.
func (s etcd) deleteAt(ctx context.Context, key string, index uint64) (answer, error) {
	return s.ask(ctx, http.MethodDelete, key, url.Values{"prevIndex": {strconv.FormatUint(index, 10)}}, false)
}

// unexpected is the error of a call; that a key is not as expected is one, too,
// unless it is told otherwise.
func unexpected(a answer, err error, expected ...int) error {
	if err == nil && a.Code != 0 && !slices.Contains(expected, a.Code) {
		return fmt.Errorf("%w: etcd answers %d", ErrChanged, a.Code)
	}
	return err
}

// ask asks one member after the other until one has an answer, whoever answered last
// first. What may have been sent is sent again only if that is harmless. A question does
// not wait long for a member before it goes to the next one as well.
func (s etcd) ask(ctx context.Context, method, key string, values url.Values, again bool) (answer, error) {
	path := "/v2/keys" + (&url.URL{Path: key}).EscapedPath() + "?" + values.Encode()
	members := s.members()
	limit := Timeout
	if again {
		limit = share(len(members))
	}
	if method == http.MethodGet {
		return race(ctx, s.Product, func(ctx context.Context, member string) (answer, error) {
			return s.call(ctx, limit, method, "http://"+member+path)
		}, func(answer) {})
	}
	var errs []error
	for _, member := range members {
		a, err := s.call(ctx, limit, method, "http://"+member+path)
		if err == nil {
			s.answers(member)
			return a, nil
		}
		errs = append(errs, &memberError{member, err})
		if dial, ok := errors.AsType[*net.OpError](err); !again && (!ok || dial.Op != "dial") {
			break
		}
	}
	return answer{}, errors.Join(errs...)
}

func (s etcd) call(ctx context.Context, limit time.Duration, method, target string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return answer{}, err
	}
	if user, password, found := strings.Cut(s.Auth, ":"); found {
		request.SetBasicAuth(user, password)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, err
	}
	var a answer
	done := response.StatusCode < http.StatusMultipleChoices
	known := []int{keyNotFound, testFailed, notDirectory, nodeExists, notEmpty}
	if json.Unmarshal(text, &a) != nil || !done && !slices.Contains(known, a.Code) {
		return answer{}, fmt.Errorf("it answers %d", response.StatusCode)
	}
	return a, nil
}
