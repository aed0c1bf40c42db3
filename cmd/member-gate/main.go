// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Command member-gate runs as an init container of a member of an ensemble: it
// lets the member start only in the identity that it was given, on the data of
// that identity. What keeps it from starting it tells the operator in the
// message that a container leaves when it ends. For a ZooKeeper it also writes
// the files of the member, and leaves a copy of itself that serves as its probe.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
	"github.com/codis-io/codis-operator/internal/zookeeper"
)

type options struct {
	seat, volume, message string
	zookeeper, install    string
	ask, addr             string
}

func main() {
	var o options
	flag.StringVar(&o.seat, "seat", "", "File with the seat of the member; a missing one means that it has none.")
	flag.StringVar(&o.volume, "volume", "", "Directory with the data.")
	flag.StringVar(&o.message, "message", "/dev/termination-log", "File that takes what the operator is to know.")
	flag.StringVar(&o.zookeeper, "zookeeper", "",
		"Start of the names of the files NAME.cfg and NAME.members of a member of a ZooKeeper; empty for an etcd.")
	flag.StringVar(&o.install, "install", "", "Directory that takes a copy of this program; empty for none.")
	flag.StringVar(&o.ask, "ask", "",
		"Four-letter word to ask a running ZooKeeper instead: ruok whether it lives, srvr whether it has a quorum.")
	flag.StringVar(&o.addr, "addr", fmt.Sprintf("127.0.0.1:%d", zookeeper.PortClient), "Address to ask.")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "member-gate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.ask != "" {
		return ask(ctx, o.addr, o.ask)
	}
	if o.install != "" {
		if err := install(o.install); err != nil {
			return fmt.Errorf("leave a probe in %s: %w", o.install, err)
		}
	}
	return pass(o)
}

func ask(ctx context.Context, addr, word string) error {
	said, err := zookeeper.Client{Addr: addr}.Word(ctx, word)
	if err == nil && said != "imok" && !zookeeper.Serving(said) {
		err = fmt.Errorf("%s: %s", word, strings.TrimSpace(said))
	}
	return err
}

// install copies the running program.
func install(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(self) //nolint:gosec // The program itself.
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	name := filepath.Join(dir, "member-gate")
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700) //nolint:gosec // To be run.
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

func pass(o options) error {
	s, found, err := look(o)
	if err != nil {
		return err
	}
	if found.Present() {
		if err := os.WriteFile(o.message, []byte(found.String()), 0o600); err != nil {
			return err
		}
		return fmt.Errorf("the member must not start: %s", found)
	}
	if o.zookeeper == "" {
		return nil
	}
	members, err := prepare(o, s)
	if err != nil {
		return fmt.Errorf("prepare the member: %w", err)
	}
	return os.WriteFile(o.message, []byte(members), 0o600)
}

func look(o options) (seat.Seat, seat.Finding, error) {
	text, err := os.ReadFile(o.seat)
	if errors.Is(err, os.ErrNotExist) {
		return seat.Seat{}, seat.Finding{Kind: seat.Vacant}, nil
	}
	if err != nil {
		return seat.Seat{}, seat.Finding{}, err
	}
	s, err := seat.Decode(string(text))
	if err != nil {
		return seat.Seat{}, seat.Finding{}, fmt.Errorf("%s: %w", o.seat, err)
	}
	trace := seat.TraceEtcd
	if o.zookeeper != "" {
		trace = seat.TraceZooKeeper
	}
	found, err := seat.Check(o.volume, s, trace)
	return s, found, err
}

func prepare(o options, s seat.Seat) (string, error) {
	id, err := roster.ParseID(s.ID)
	if err != nil {
		return "", err
	}
	settings, err := os.ReadFile(o.zookeeper + ".cfg")
	if err != nil {
		return "", err
	}
	members, err := os.ReadFile(o.zookeeper + ".members")
	if err != nil {
		return "", err
	}
	return zookeeper.Prepare(zookeeper.Start{
		Volume: o.volume, ID: id, Settings: string(settings), Members: string(members), Joins: s.Fresh && !s.Founder,
	})
}
