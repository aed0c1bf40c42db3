// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/codis-io/codis-operator/test/e2e/framework"
)

const (
	// connections of the clients to each proxy.
	connections = 2
	// warm is how long clients write before a fault strikes: longer than lag.
	warm = 3 * time.Second
	// readBack is how long clients may take for what they wrote.
	readBack = 6 * time.Minute
	// interrupted is why a trial was not run.
	interrupted = "interrupted"
)

// run is one trial. What goes wrong is in it; what was interrupted was not run.
func (b *bench) run(ctx context.Context, f fault, t *trial) {
	defer func() {
		if ctx.Err() != nil {
			t.notRun = interrupted
		}
	}()
	s, err := b.stage(ctx, f)
	if err != nil {
		t.fail("nothing was struck: " + err.Error())
		return
	}
	if s.group == 0 {
		t.notRun = s.problem
		return
	}
	clients, err := b.startClients(ctx, f, s)
	if err != nil {
		t.fail("nothing was struck: " + err.Error())
		return
	}
	rest(ctx, warm)
	t.note(s)
	at, strikeErr := f.strike(ctx, b, s)
	well, wellErr := b.waitWell(ctx)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBack)
	defer cancel()
	outcome, beside, stopErr := clients.stop(stopping)
	seen, seenErr := b.witness.Since(at)
	if err := errors.Join(strikeErr, wellErr, stopErr, seenErr); err != nil {
		t.fail(err.Error())
	}
	t.judge(evidence{
		at: at, well: well, usable: s.usable, group: s.group, promotes: f.promotes, either: f.either, exposed: s.exposed,
		masters: s.masters, struck: s.struck, seen: seen, outcome: outcome, beside: beside,
	})
}

// clients write to the group that is struck.
type clients struct {
	// load is through every proxy, beside through those of the node that is cut
	// off, from there; it is nil where nobody is there.
	load, beside *framework.Load
}

// startClients starts them.
func (b *bench) startClients(ctx context.Context, f fault, s *scene) (c clients, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	if c.load, err = b.startLoad(ctx, f, s.slots, b.home, s.proxies); err != nil || !f.beside {
		return c, err
	}
	c.beside, err = b.startLoad(ctx, f, s.slots, s.node, s.struck)
	return c, err
}

func (b *bench) startLoad(ctx context.Context, f fault, slots, node string, proxies []string) (*framework.Load, error) {
	b.loads++
	return b.cluster.StartPinnedLoad(ctx, b.namespace, product, framework.Pinned{
		Node: node, Proxies: proxies, Connections: connections * len(proxies), Rate: b.rate,
		Slots: slots, Prefix: fmt.Sprintf("%s-%d", f.name, b.loads),
	})
}

// stop tells what became of all that was written.
func (c clients) stop(ctx context.Context) (outcome framework.Outcome, beside *framework.Outcome, err error) {
	outcome, err = c.load.Stop(ctx)
	if c.beside == nil {
		return outcome, nil, err
	}
	there, besideErr := c.beside.Stop(ctx)
	return outcome, &there, errors.Join(err, besideErr)
}

// note keeps what makes a trial different from others of its fault.
func (t *trial) note(s *scene) {
	if s.node == "" {
		return
	}
	t.notes = append(t.notes, "cut "+s.node)
	if leader := s.pods[roleOperator]; leader.Spec.NodeName == s.node {
		t.notes = append(t.notes, "with the leading operator")
	}
	if len(s.exposed) > 1 {
		t.notes = append(t.notes, fmt.Sprintf("with the masters of groups %v", s.exposed))
	}
}

// explain tells all about a trial that failed.
func (b *bench) explain(ctx context.Context) {
	if b.witness != nil {
		seen, err := b.witness.Last()
		fmt.Printf("the witness saw last: %+v %s\n", seen, text(err))
	}
	for _, args := range [][]string{
		{"get", "codis,pods", "-n", b.namespace, "-o", "wide"},
		{"describe", "codisgroups", "-n", b.namespace},
		{"get", "events", "-n", b.namespace, "--sort-by=.metadata.creationTimestamp"},
		{"logs", "-n", operatorNamespace, "-l", "app.kubernetes.io/name=" + operatorName, "--prefix", "--tail=60"},
	} {
		out, err := b.cluster.Kubectl(ctx, args...)
		fmt.Println(out + text(err))
	}
}
