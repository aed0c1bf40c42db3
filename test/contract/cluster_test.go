// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import "fmt"

const slotCount = 1024

// layout is the size of a whole cluster and what is different in it.
type layout struct {
	groups    int
	members   int // servers of each group, the master included
	proxies   int
	dashboard dashboardSpec
	proxy     proxySpec
	conf      []string
}

// cluster is a product whose slots are spread evenly over groups in sync, behind proxies that are online.
type cluster struct {
	*world
	d       *dashboard
	proxies []*proxy
	groups  [][]*server // groups[g-1][0] is the first master of group g
}

func (w *world) cluster(l layout) *cluster {
	w.t.Helper()
	c := &cluster{world: w}
	for g := range l.groups {
		var members []*server
		for m := range l.members {
			members = append(members, w.server(1+g*l.members+m, l.conf...))
		}
		c.groups = append(c.groups, members)
	}
	c.replicate()
	c.storeSlots(l.groups)
	c.d = w.dashboard(l.dashboard)
	for g, members := range c.groups {
		c.d.newGroup(g+1, members...)
	}
	for n := range l.proxies {
		p := w.proxy(n+1, l.proxy)
		c.d.register(p)
		c.proxies = append(c.proxies, p)
	}
	return c
}

// storeSlots spreads the slots in the store before the dashboard reads it. That is less work for the dashboard than
// assigning them, of which a machine of two cores does not take many at a time.
func (c *cluster) storeSlots(groups int) {
	c.t.Helper()
	for id := range slotCount {
		text := fmt.Sprintf(`{"id": %d, "group_id": %d, "action": {}}`, id, 1+id*groups/slotCount)
		writeFile(c.t, c.storePath(fmt.Sprintf("slots/slot-%04d", id)), text)
	}
}

// replicate makes every other member a replica of its group's first.
func (c *cluster) replicate() {
	c.t.Helper()
	for _, members := range c.groups {
		for _, s := range members[1:] {
			s.must("SLAVEOF", c.ip, portServer+members[0].n)
		}
	}
	for _, members := range c.groups {
		for _, s := range members[1:] {
			eventually(c.t, patience, s.addr+" is in sync", func() bool { return s.inSyncWith(members[0]) })
		}
	}
}

// member is member m of group g, both counted from 1 as in the recordings' names.
func (c *cluster) member(g, m int) *server { return c.groups[g-1][m-1] }

// load sets keys key-0 .. key-(n-1) to values through a proxy.
func (c *cluster) load(client string, n int) {
	c.t.Helper()
	conn := dial(c.t, client)
	const batch = 500
	for sent := 0; sent < n; sent += batch {
		size := min(batch, n-sent)
		for i := range size {
			if err := conn.send("SET", loadKey(sent+i), loadValue(sent+i)); err != nil {
				c.t.Fatal(err)
			}
		}
		for i := range size {
			if v, err := conn.receive(); err != nil || v != "OK" {
				c.t.Fatalf("SET %s: %v %v", loadKey(sent+i), v, err)
			}
		}
	}
}

func loadKey(i int) string   { return fmt.Sprintf("key-%d", i) }
func loadValue(i int) string { return fmt.Sprintf("value-%d", i) }
