// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/codis-io/codis-operator/test/client/workload"
)

// memberTimeout bounds a look at a codis-server.
const memberTimeout = 500 * time.Millisecond

// witness keeps a connection to one codis-server.
type witness struct {
	addr, password string
	conn           *workload.Conn
}

func (w *witness) look(ctx context.Context) Member {
	info, err := w.info(ctx)
	if err != nil {
		return Member{Problem: problem(err)}
	}
	m := parseInfo(info)
	m.At = w.conn.Addr()
	return m
}

// info asks once more on a new connection where the kept one turns out broken.
func (w *witness) info(ctx context.Context) (string, error) {
	for {
		kept := w.conn != nil
		if !kept {
			conn, err := workload.Dial(ctx, w.addr, w.password, memberTimeout)
			if err != nil {
				return "", err
			}
			w.conn = conn
		}
		answer, err := w.conn.Do("INFO")
		if err == nil && answer != nil {
			return *answer, nil
		}
		w.close()
		if !kept {
			return "", err
		}
	}
}

func (w *witness) close() {
	if w.conn != nil {
		_ = w.conn.Close() // it is broken or done with
		w.conn = nil
	}
}

func parseInfo(text string) Member {
	fields := map[string]string{}
	var keys int64
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields[name] = value
		keys += keysOf(name, value)
	}
	m := Member{
		Role: fields["role"], Keys: keys,
		LinkUp:  fields["master_link_status"] == "up",
		Loading: fields["loading"] == "1",
	}
	if host := fields["master_host"]; host != "" {
		m.Master = net.JoinHostPort(host, fields["master_port"])
	}
	return m
}

// keysOf reads a line like "db0:keys=12,expires=0,avg_ttl=0".
func keysOf(name, value string) int64 {
	number, isDB := strings.CutPrefix(name, "db")
	if _, err := strconv.Atoi(number); !isDB || err != nil {
		return 0
	}
	first, _, _ := strings.Cut(value, ",")
	keys, err := strconv.ParseInt(strings.TrimPrefix(first, "keys="), 10, 64)
	if err != nil {
		return 0
	}
	return keys
}

// problem words an error so that alike ones are the same.
func problem(err error) string {
	var network net.Error
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "no address"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	case strings.HasPrefix(err.Error(), "status "):
		return err.Error()
	default:
		return "no answer"
	}
}
