// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package zookeeper asks the members of a ZooKeeper about their ensemble, with
// four-letter words, and changes who belongs to it by dynamic reconfiguration. It
// refuses to decide anything.
package zookeeper

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/codis-io/codis-operator/internal/roster"
)

// DefaultTimeout bounds each call, dialling included.
const DefaultTimeout = 2 * time.Second

// maxAnswer is more than any answer that is read here.
const maxAnswer = 1 << 16

// Ports that members use among themselves.
const (
	PortPeer     = 2888
	PortElection = 3888
	PortClient   = 2181
)

// MaxID is the largest identity that a member may have.
const MaxID = 254

// Config is a list of members with its version.
type Config struct {
	// Version grows with each change.
	Version int64
	// Members by their peer addresses, host:port. Observers are learners.
	Members []roster.Member
}

// View is how a member that serves sees itself and the ensemble.
type View struct {
	ID roster.ID
	// Leads and Observes tell the role; a member that does neither follows.
	Leads, Observes bool
	// Epoch of the last change that it has; a leader's is that of its election.
	Epoch  int64
	Config Config
}

// Client asks one member.
type Client struct {
	// Addr is host:port of the client port.
	Addr string
	// Timeout of each call; 0 means DefaultTimeout.
	Timeout time.Duration
}

func (c Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

// Word sends a four-letter word and returns the answer.
func (c Client) Word(ctx context.Context, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := conn.Write([]byte(word)); err != nil {
		return "", err
	}
	said, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	return string(said), err
}

// Serving tells whether an answer to srvr is that of a member that has a quorum.
func Serving(answer string) bool { return strings.Contains(answer, "\nMode: ") }

// Look asks the member for its view, which only one that serves has.
func (c Client) Look(ctx context.Context) (View, error) {
	state, err := c.Word(ctx, "srvr")
	if err != nil {
		return View{}, err
	}
	if !Serving(state) {
		return View{}, fmt.Errorf("%s does not serve", c.Addr)
	}
	text, err := c.Word(ctx, "conf")
	if err != nil {
		return View{}, err
	}
	view := View{
		Epoch: epoch(state),
		Leads: strings.Contains(state, "\nMode: leader\n"), Observes: strings.Contains(state, "\nMode: observer\n"),
		Config: ParseConfig(text),
	}
	for line := range strings.Lines(text) {
		if id, found := strings.CutPrefix(strings.TrimSpace(line), "serverId="); found {
			number, err := strconv.ParseUint(id, 10, 64)
			if err != nil {
				return View{}, fmt.Errorf("%s calls itself %q", c.Addr, id)
			}
			view.ID = roster.ID(number)
		}
	}
	if view.ID == 0 {
		return View{}, fmt.Errorf("%s does not say who it is", c.Addr)
	}
	return view, nil
}

// epoch is the upper half of the number of the last change.
func epoch(state string) int64 {
	for line := range strings.Lines(state) {
		if number, found := strings.CutPrefix(strings.TrimSpace(line), "Zxid: 0x"); found {
			if zxid, err := strconv.ParseInt(number, 16, 64); err == nil {
				return zxid >> 32
			}
		}
	}
	return 0
}

// ParseConfig reads the lines about members and the version out of a text that
// may have others too. What it does not understand is left out.
func ParseConfig(text string) Config {
	var config Config
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		id, isMember := strings.CutPrefix(name, "server.")
		switch {
		case !found:
		case isMember:
			if m, ok := parseMember(id, value); ok {
				config.Members = append(config.Members, m)
			}
		case name == "version":
			if version, err := strconv.ParseInt(value, 16, 64); err == nil {
				config.Version = version
			}
		}
	}
	slices.SortFunc(config.Members, func(a, b roster.Member) int { return slices.Compare(a.PeerURLs, b.PeerURLs) })
	return config
}

// parseMember reads "host:2888:3888:participant;0.0.0.0:2181".
func parseMember(id, value string) (roster.Member, bool) {
	number, err := strconv.ParseUint(id, 10, 64)
	addresses, _, _ := strings.Cut(value, ";")
	parts := strings.Split(addresses, ":")
	if err != nil || number == 0 || len(parts) < 3 {
		return roster.Member{}, false
	}
	return roster.Member{
		ID: roster.ID(number), PeerURLs: []string{parts[0] + ":" + parts[1]}, Learner: slices.Contains(parts[3:], "observer"),
	}, true
}

// Line is the form in which a configuration has a member.
func Line(m roster.Member) string {
	role := "participant"
	if m.Learner {
		role = "observer"
	}
	host := ""
	if len(m.PeerURLs) > 0 {
		host, _, _ = strings.Cut(m.PeerURLs[0], ":")
	}
	return fmt.Sprintf("server.%d=%s:%d:%d:%s;%d", uint64(m.ID), host, PortPeer, PortElection, role, PortClient)
}

// Join adds a member, or gives one that is there its other role, if the
// configuration still is the one of the given version.
func (c Client) Join(ctx context.Context, m roster.Member, version int64) error {
	return c.reconfigure(ctx, []string{Line(m)}, nil, version)
}

// Leave takes a member out, if the configuration still is the one of the given
// version.
func (c Client) Leave(ctx context.Context, id roster.ID, version int64) error {
	return c.reconfigure(ctx, nil, []string{strconv.FormatUint(uint64(id), 10)}, version)
}

// reconfigure needs a session, which is ended when the answer is there or the
// time is over: what was not answered may have happened all the same.
func (c Client) reconfigure(ctx context.Context, joining, leaving []string, version int64) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	conn, _, err := zk.Connect([]string{c.Addr}, 2*c.timeout(), zk.WithLogger(silent{}))
	if err != nil {
		return err
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.IncrementalReconfig(joining, leaving, version)
		answered <- err
		conn.Close()
	}()
	select {
	case err = <-answered:
		return err
	case <-ctx.Done():
		go conn.Close()
		return ctx.Err()
	}
}

type silent struct{}

// Printf implements zk.Logger.
func (silent) Printf(string, ...any) {}
