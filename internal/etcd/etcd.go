// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package etcd asks the members of an etcd about their ensemble and changes who
// belongs to it, over the JSON gateway of the v3 API. Of the v2 API, which is the
// one that Codis speaks, it only asks whether it is there. It refuses to decide
// anything.
package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/codis-io/codis-operator/internal/roster"
)

// DefaultTimeout bounds each call, dialling included.
const DefaultTimeout = 2 * time.Second

// maxAnswer is more than any answer that is read here.
const maxAnswer = 1 << 20

// RefusedError is an answer that is not the wanted one.
type RefusedError struct {
	// Code is the HTTP status.
	Code    int
	Message string
	// Key is the code of the v2 API; 0 for an answer of another.
	Key int
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Message }

// Client asks one member.
type Client struct {
	// Addr is host:port of the client port.
	Addr string
	// Timeout of each call; 0 means DefaultTimeout.
	Timeout time.Duration
	// User and Password of the v2 API; empty for none.
	User, Password string
}

// transport keeps no connections: a member is asked every few seconds, and an
// old connection may lead to a pod that is gone.
var transport = &http.Transport{DisableKeepAlives: true}

func (c Client) do(ctx context.Context, method, path string, body, answer any) error {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.Addr+path, sent)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.User != "" {
		request.SetBasicAuth(c.User, c.Password)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refused(response, text)
	}
	if answer == nil || len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, answer)
}

func refused(response *http.Response, text []byte) error {
	said := struct {
		Message string `json:"message"`
		Key     int    `json:"errorCode"`
	}{}
	if json.Unmarshal(text, &said) != nil || said.Message == "" {
		said.Message = response.Status
	}
	return &RefusedError{Code: response.StatusCode, Message: said.Message, Key: said.Key}
}

// IsRefused tells whether an error is an answer with the given HTTP status.
func IsRefused(err error, code int) bool {
	said, ok := errors.AsType[*RefusedError](err)
	return ok && said.Code == code
}

func (c Client) post(ctx context.Context, path string, body, answer any) error {
	return c.do(ctx, http.MethodPost, path, body, answer)
}

// Status asks the member how it sees itself.
func (c Client) Status(ctx context.Context) (roster.Status, error) {
	answer := struct {
		Header struct {
			ClusterID roster.ID `json:"cluster_id"`
			MemberID  roster.ID `json:"member_id"`
		} `json:"header"`
		Leader  roster.ID `json:"leader"`
		Index   roster.ID `json:"raftIndex"`
		Applied roster.ID `json:"raftAppliedIndex"`
		Learner bool      `json:"isLearner"`
		Version string    `json:"version"`
	}{}
	err := c.post(ctx, "/v3/maintenance/status", struct{}{}, &answer)
	return roster.Status{
		ClusterID: answer.Header.ClusterID, MemberID: answer.Header.MemberID, Leader: answer.Leader,
		Index: uint64(answer.Index), Applied: uint64(answer.Applied), Learner: answer.Learner, Version: answer.Version,
	}, err
}

// Members lists the ensemble: as the quorum has it if agreed, else as this
// member last heard.
func (c Client) Members(ctx context.Context, agreed bool) ([]roster.Member, error) {
	answer := struct {
		Members []roster.Member `json:"members"`
	}{}
	err := c.post(ctx, "/v3/cluster/member/list", map[string]bool{"linearizable": agreed}, &answer)
	return answer.Members, err
}

// Heard lists the ensemble as a member last heard of it. It is asked at its peer
// port, which it opens at once: the client port waits for a quorum.
func (c Client) Heard(ctx context.Context) ([]roster.Member, error) {
	var members []roster.Member
	err := c.do(ctx, http.MethodGet, "/members", nil, &members)
	return members, err
}

// AddLearner adds a member without a vote, and returns it.
func (c Client) AddLearner(ctx context.Context, peerURL string) (roster.Member, error) {
	answer := struct {
		Member roster.Member `json:"member"`
	}{}
	err := c.post(ctx, "/v3/cluster/member/add", map[string]any{"peerURLs": []string{peerURL}, "isLearner": true}, &answer)
	return answer.Member, err
}

// Promote gives a learner its vote. A learner that lags behind is refused.
func (c Client) Promote(ctx context.Context, id roster.ID) error {
	return c.post(ctx, "/v3/cluster/member/promote", map[string]roster.ID{"ID": id}, nil)
}

// Remove takes a member out for good.
func (c Client) Remove(ctx context.Context, id roster.ID) error {
	return c.post(ctx, "/v3/cluster/member/remove", map[string]roster.ID{"ID": id}, nil)
}

// TransferLeadership makes another member lead; only the leader can be asked.
func (c Client) TransferLeadership(ctx context.Context, to roster.ID) error {
	return c.post(ctx, "/v3/maintenance/transfer-leadership", map[string]roster.ID{"targetID": to}, nil)
}

// Alarms lists the alarms of the ensemble.
func (c Client) Alarms(ctx context.Context) ([]roster.Alarm, error) {
	answer := struct {
		Alarms []roster.Alarm `json:"alarms"`
	}{}
	err := c.post(ctx, "/v3/maintenance/alarm", map[string]string{"action": "GET"}, &answer)
	return answer.Alarms, err
}

// Disarm takes an alarm back.
func (c Client) Disarm(ctx context.Context, alarm roster.Alarm) error {
	return c.post(ctx, "/v3/maintenance/alarm",
		map[string]any{"action": "DEACTIVATE", "memberID": alarm.MemberID, "alarm": alarm.Kind}, nil)
}

// Compact drops the history of all keys of the v3 API. Codis has none of them.
func (c Client) Compact(ctx context.Context) error {
	answer := struct {
		Header struct {
			Revision roster.ID `json:"revision"`
		} `json:"header"`
	}{}
	// "AA==" is the key of one zero byte.
	if err := c.post(ctx, "/v3/kv/range", map[string]string{"key": "AA=="}, &answer); err != nil {
		return err
	}
	err := c.post(ctx, "/v3/kv/compaction", map[string]any{"revision": answer.Header.Revision, "physical": true}, nil)
	if IsRefused(err, http.StatusBadRequest) { // It was compacted to there before.
		return nil
	}
	return err
}

// Defragment gives free space of the member back; the member does not answer
// meanwhile.
func (c Client) Defragment(ctx context.Context) error {
	return c.post(ctx, "/v3/maintenance/defragment", struct{}{}, nil)
}

// Version of the server.
func (c Client) Version(ctx context.Context) (string, error) {
	answer := struct {
		Server string `json:"etcdserver"`
	}{}
	err := c.do(ctx, http.MethodGet, "/version", nil, &answer)
	if err == nil && answer.Server == "" {
		err = fmt.Errorf("what answers is no etcd")
	}
	return answer.Server, err
}

// ReadKeys asks the v2 API for a key that nobody has, with the login if there is one. It is
// among those of Codis, since a login may be for these only.
func (c Client) ReadKeys(ctx context.Context) error {
	err := c.do(ctx, http.MethodGet, "/v2/keys/codis3/operator?quorum=true", nil, nil)
	if said, ok := errors.AsType[*RefusedError](err); ok && said.Key == keyNotFound {
		return nil
	}
	return err
}

// keyNotFound is the code of the v2 API for a key that is not there.
const keyNotFound = 100
