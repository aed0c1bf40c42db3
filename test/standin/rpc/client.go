// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
)

const (
	dialTimeout = time.Second
	callTimeout = time.Minute
)

// DialFunc opens a connection; tests map names to in-process listeners with it.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// DialWithin calls dial, or the network if dial is nil, with a limit of its own.
func (dial DialFunc) DialWithin(ctx context.Context, addr string, limit time.Duration) (net.Conn, error) {
	if dial == nil {
		d := net.Dialer{Timeout: limit}
		return d.DialContext(ctx, "tcp", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return dial(ctx, "tcp", addr)
}

// Client calls dashboards and proxies: one second to connect, one minute in all.
type Client struct {
	ctx  context.Context
	http *http.Client
}

// NewClient returns a client whose calls all end with ctx.
func NewClient(ctx context.Context, dial DialFunc) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return dial.DialWithin(ctx, addr, dialTimeout)
		},
		IdleConnTimeout: callTimeout,
	}
	return &Client{ctx: ctx, http: &http.Client{Transport: transport, Timeout: callTimeout}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get decodes the answer of a GET into reply.
func (c *Client) Get(host, path string, reply any) error {
	return c.call(http.MethodGet, host, path, nil, reply)
}

// Put sends args, which may be nil, and drops the answer.
func (c *Client) Put(host, path string, args any) error {
	return c.call(http.MethodPut, host, path, args, nil)
}

func (c *Client) call(method, host, path string, args, reply any) error {
	var body []byte
	if args != nil {
		b, err := models.Encode(args)
		if err != nil {
			return Trace(err)
		}
		body = b
	}
	u := url.URL{Scheme: "http", Host: host, Path: path}
	req, err := http.NewRequestWithContext(c.ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return Trace(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	rsp, err := c.http.Do(req)
	if err != nil {
		return Trace(err)
	}
	defer func() { _ = rsp.Body.Close() }()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		return Trace(err)
	}
	return decodeAnswer(rsp.StatusCode, b, u.String(), reply)
}

func decodeAnswer(status int, body []byte, url string, reply any) error {
	switch status {
	case http.StatusOK:
		if reply == nil {
			return nil
		}
		return Trace(json.Unmarshal(body, reply))
	case StatusFailed, statusFailedOld:
		var e RemoteError
		if len(body) == 0 {
			return Trace(errors.New("remote error is empty"))
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return Trace(err)
		}
		return &traced{err: errors.New("[Remote Error] " + e.Cause), stack: e.Stack}
	default:
		return Trace(fmt.Errorf("[%d] %s - %s", status, http.StatusText(status), url))
	}
}
