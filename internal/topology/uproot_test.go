// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"
)

// forest is what a ZooKeeper has: a request is carried out as a whole, or not at all.
type forest struct {
	nodes    map[string]bool
	requests [][]any
	// before is called before each request, with its number.
	before func(number int)
	listed int
}

// newForest has a pinned product of some slots, and a neighbour.
func newForest(slots int) *forest {
	f := &forest{nodes: map[string]bool{}}
	for i := range slots {
		f.grow(fmt.Sprintf("/codis3/p/slots/slot-%04d", i))
	}
	f.grow("/codis3/p/group/group-0001")
	f.grow("/codis3/p/topom/removing")
	f.grow("/codis3/p-2/topom")
	return f
}

func (f *forest) grow(node string) {
	for ; node != "/"; node = path.Dir(node) {
		f.nodes[node] = true
	}
}

func (f *forest) below(node string) []string {
	var children []string
	for other := range f.nodes {
		if path.Dir(other) == node {
			children = append(children, path.Base(other))
		}
	}
	slices.Sort(children)
	return children
}

// Children implements tree.
func (f *forest) Children(node string) ([]string, *zk.Stat, error) {
	f.listed++
	if !f.nodes[node] {
		return nil, nil, zk.ErrNoNode
	}
	if strings.HasPrefix(path.Base(node), "slot-") {
		return nil, &zk.Stat{}, nil
	}
	return f.below(node), &zk.Stat{}, nil
}

// Multi implements tree.
func (f *forest) Multi(ops ...any) ([]zk.MultiResponse, error) {
	if f.before != nil {
		f.before(len(f.requests) + 1)
	}
	f.requests = append(f.requests, ops)
	parents := map[string]int{}
	for node := range f.nodes {
		parents[path.Dir(node)]++
	}
	left := maps.Clone(f.nodes)
	for _, op := range ops {
		switch op := op.(type) {
		case *zk.CheckVersionRequest:
			if !left[op.Path] {
				return nil, zk.ErrNoNode
			}
		case *zk.DeleteRequest:
			if !left[op.Path] || parents[op.Path] > 0 {
				return nil, zk.ErrNotEmpty
			}
			delete(left, op.Path)
			parents[path.Dir(op.Path)]--
		}
	}
	f.nodes = left
	return nil, nil
}

// deletes counts what a request deletes, and tells its size.
func deletes(request []any) (nodes, bytes int) {
	for _, op := range request {
		if d, ok := op.(*zk.DeleteRequest); ok {
			nodes, bytes = nodes+1, bytes+len(d.Path)+overhead
		}
	}
	return nodes, bytes
}

func (f *forest) remove(ctx context.Context) error {
	return (&uprooting{Product: Product{Name: "p"}, tree: f}).remove(ctx)
}

const tombstone = "/codis3/p/topom/removing"

func TestAProductGoesInAsFewRequestsAsFit(t *testing.T) {
	tests := map[string]struct{ slots, requests int }{
		"an empty one":                 {0, 1},
		"one of 1024 slots":            {1024, 1},
		"more than 4096 nodes":         {9000, 1},
		"more than fit into a request": {15000, 2},
		"far more than fit into one":   {60000, 6},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newForest(tt.slots)
			f.before = func(int) {
				if !f.nodes[tombstone] || !f.nodes["/codis3/p/topom"] {
					t.Error("somebody can start on what is left")
				}
			}
			if err := f.remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(f.nodes)); !slices.Equal(got, []string{"/codis3", "/codis3/p-2", "/codis3/p-2/topom"}) {
				t.Errorf("left: %d nodes", len(got))
			}
			if len(f.requests) != tt.requests {
				t.Errorf("%d requests, want %d", len(f.requests), tt.requests)
			}
			for _, request := range f.requests {
				check, ok := request[0].(*zk.CheckVersionRequest)
				if nodes, bytes := deletes(request); bytes > maxRequest || nodes == 0 || !ok || check.Path != tombstone {
					t.Errorf("a request of %d nodes in %d bytes begins with %+v", nodes, bytes, request[0])
				}
			}
		})
	}
}

func TestNothingMoreGoesOnceTheTombstoneIsTakenAway(t *testing.T) {
	f := newForest(30000)
	f.before = func(number int) {
		if number == 2 {
			delete(f.nodes, tombstone)
		}
	}
	if err := f.remove(t.Context()); !errors.Is(err, zk.ErrNoNode) {
		t.Errorf("remove() = %v", err)
	}
	first, _ := deletes(f.requests[0]) // The group and its directory are among them.
	if got := len(f.below("/codis3/p/slots")); got != 30000-(first-2) || len(f.requests) != 2 {
		t.Errorf("%d slots are left after %d requests, the first of %d nodes", got, len(f.requests), first)
	}
}

// late is a context whose time is over once f has listed some nodes.
type late struct {
	context.Context
	forest *forest
	limit  int
}

// Err implements context.Context.
func (l late) Err() error {
	if l.forest.listed >= l.limit {
		return context.DeadlineExceeded
	}
	return nil
}

// A removal for which time is short goes on where it was, also if nothing filled a request.
func TestARemovalForWhichTimeIsShortIsFinishedByTheNext(t *testing.T) {
	for _, limit := range []int{500, 12500} {
		f := newForest(20000)
		tries := 1
		for err := f.remove(late{t.Context(), f, limit}); err != nil; err = f.remove(late{t.Context(), f, limit}) {
			if !errors.Is(err, ErrUnfinished) || !f.nodes[tombstone] || tries > 60 {
				t.Fatalf("try %d: %v, %d nodes are left", tries, err, len(f.nodes))
			}
			f.listed = 0
			tries++
		}
		if len(f.nodes) != 3 || tries < 2 {
			t.Errorf("%d nodes are left after %d tries", len(f.nodes), tries)
		}
	}
	f := newForest(10)
	if err := f.remove(late{t.Context(), f, 0}); !errors.Is(err, context.DeadlineExceeded) || len(f.requests) > 0 {
		t.Errorf("without any time: %v", err)
	}
}
