// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Error codes of the v2 API of etcd.
const (
	keyNotFound = 100
	keyExists   = 105
)

// maxAnswer is more than a key takes.
const maxAnswer = 1 << 20

// transport keeps no connections: a store is asked now and then.
var transport = &http.Transport{DisableKeepAlives: true}

type etcd struct{ Store }

// answer of the v2 API.
type answer struct {
	Code int `json:"errorCode"`
	Node *struct {
		Value string `json:"value"`
	} `json:"node"`
}

func (s etcd) get(ctx context.Context, key string) ([]byte, error) {
	a, err := s.ask(ctx, http.MethodGet, key, url.Values{"quorum": {"true"}})
	if err != nil || a.Node == nil {
		return nil, err
	}
	return []byte(a.Node.Value), nil
}

func (s etcd) create(ctx context.Context, key string, value []byte) (bool, error) {
	a, err := s.ask(ctx, http.MethodPut, key, url.Values{"prevExist": {"false"}, "value": {string(value)}})
	return err == nil && a.Code == 0, err
}

func (s etcd) remove(ctx context.Context, root string) error {
	_, err := s.ask(ctx, http.MethodDelete, root, url.Values{"recursive": {"true"}})
	return err
}

// ask asks one member after the other until one has an answer. An answer that
// was lost may have been obeyed: each of these calls may be repeated.
func (s etcd) ask(ctx context.Context, method, key string, values url.Values) (answer, error) {
	errs := []error{errNoMember}
	for member := range strings.SplitSeq(s.Addr, ",") {
		target := "http://" + member + "/v2/keys" + (&url.URL{Path: key}).EscapedPath() + "?" + values.Encode()
		a, err := s.call(ctx, method, target)
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
	}
	return answer{}, errors.Join(errs[1:]...)
}

func (s etcd) call(ctx context.Context, method, target string) (answer, error) {
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
	if json.Unmarshal(text, &a) != nil || !done && a.Code != keyNotFound && a.Code != keyExists {
		return answer{}, fmt.Errorf("%s answers %d", request.URL.Host, response.StatusCode)
	}
	return a, nil
}
