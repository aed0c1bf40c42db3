// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/lock"
	"github.com/codis-io/codis-operator/internal/topology"
)

const (
	portEtcd      = 2379
	portEtcdPeer  = 2380
	portZooKeeper = 2181
)

// keeper is a coordinator that is a server, seen past Codis.
type keeper struct {
	w    *world
	name string
	addr string
	proc *process
	// start runs the server on what it kept.
	start func() *process
	// read returns the value of a key, or "" if there is none.
	read func(key string) string
	// write changes a key that is there, create makes one.
	write, create func(key, value string)
}

// etcd starts a single etcd with the v2 API.
func (w *world) etcd() *keeper {
	w.t.Helper()
	k := &keeper{w: w, name: "etcd", addr: w.at(portEtcd)}
	client, peer := "http://"+k.addr, "http://"+w.at(portEtcdPeer)
	k.start = func() *process {
		p := startProcess(w.t, w.dir, "etcd", release.etcd, "--enable-v2", "--name=only", "--logger=zap",
			"--data-dir="+filepath.Join(w.dir, "etcd"), "--listen-client-urls="+client, "--advertise-client-urls="+client,
			"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=only="+peer)
		eventually(w.t, patience, "etcd answers", func() bool {
			r, err := request(http.MethodGet, client+"/health", nil)
			return err == nil && r.status == http.StatusOK
		})
		return p
	}
	k.read = func(key string) string {
		answer := struct {
			Node struct {
				Value      string `json:"value"`
				TTL        int    `json:"ttl"`
				Expiration string `json:"expiration"`
			} `json:"node"`
		}{}
		r, err := request(http.MethodGet, client+"/v2/keys"+key, nil)
		if err == nil && r.status == http.StatusNotFound {
			return ""
		}
		if err != nil || r.status != http.StatusOK {
			w.t.Fatalf("GET %s: %v %d %s", key, err, r.status, r.body)
		}
		if err := json.Unmarshal(r.body, &answer); err != nil {
			w.t.Fatal(err)
		}
		if answer.Node.TTL != 0 || answer.Node.Expiration != "" {
			w.t.Errorf("%s does not stay: %s", key, r.body)
		}
		return answer.Node.Value
	}
	k.write = func(key, value string) {
		r, err := request(http.MethodPut, client+"/v2/keys"+key+"?"+url.Values{"value": {value}}.Encode(), nil)
		if err != nil || r.status != http.StatusOK {
			w.t.Fatalf("PUT %s: %v %d %s", key, err, r.status, r.body)
		}
	}
	k.create = func(key, value string) {
		r, err := request(http.MethodPut, client+"/v2/keys"+key+"?"+url.Values{"value": {value}}.Encode(), nil)
		if err != nil || r.status != http.StatusCreated {
			w.t.Fatalf("PUT %s: %v %d %s", key, err, r.status, r.body)
		}
	}
	k.proc = k.start()
	return k
}

// zookeeper starts a single ZooKeeper.
func (w *world) zookeeper() *keeper {
	w.t.Helper()
	k := &keeper{w: w, name: "zookeeper", addr: w.at(portZooKeeper)}
	dir := filepath.Join(w.dir, "zookeeper")
	config := filepath.Join(w.dir, "zoo.cfg")
	writeFile(w.t, config, fmt.Sprintf(
		"dataDir=%s\nclientPort=%d\nclientPortAddress=%s\nadmin.enableServer=false\ntickTime=1000\n"+
			"4lw.commands.whitelist=srvr\n", dir, portZooKeeper, w.ip))
	k.start = func() *process {
		p := startProcess(w.t, w.dir, "zookeeper", "java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
			"-cp", "/usr/share/java/zookeeper.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)
		eventually(w.t, patience, "ZooKeeper answers", func() bool {
			return lastWritten(k.addr) != "" // It says that it is ok before it serves.
		})
		return p
	}
	connect := func() *zk.Conn {
		conn, _, err := zk.Connect([]string{k.addr}, 10*time.Second, zk.WithLogInfo(false))
		if err != nil {
			w.t.Fatal(err)
		}
		return conn
	}
	k.write = func(key, value string) {
		conn := connect()
		defer conn.Close()
		if _, err := conn.Set(key, []byte(value), -1); err != nil {
			w.t.Fatal(err)
		}
	}
	k.create = func(key, value string) {
		conn := connect()
		defer conn.Close()
		for _, made := range []struct{ key, value string }{{path.Dir(key), ""}, {key, value}} {
			if _, err := conn.Create(made.key, []byte(made.value), 0, zk.WorldACL(zk.PermAll)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	k.read = func(key string) string {
		conn := connect()
		defer conn.Close()
		value, stat, err := conn.Get(key)
		if errors.Is(err, zk.ErrNoNode) {
			return ""
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if stat.EphemeralOwner != 0 {
			w.t.Errorf("%s does not stay", key)
		}
		return string(value)
	}
	k.proc = k.start()
	return k
}

// lastWritten is the last that a ZooKeeper has written down; empty while it does not serve.
func lastWritten(addr string) string {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return ""
	}
	if _, err := conn.Write([]byte("srvr")); err != nil {
		return ""
	}
	text, _ := io.ReadAll(conn) // It breaks off after its answer.
	return regexp.MustCompile(`Zxid: 0x[0-9a-f]+`).FindString(string(text))
}

func (k *keeper) spec(args ...string) dashboardSpec {
	return dashboardSpec{settings: settings{"coordinator_name": k.name, "coordinator_addr": k.addr}, args: args}
}

func (k *keeper) key(parts ...string) string {
	return path.Join(append([]string{"/codis3", k.w.product}, parts...)...)
}

func (k *keeper) document(key string) map[string]any {
	k.w.t.Helper()
	doc := map[string]any{}
	if err := json.Unmarshal([]byte(k.read(k.key(key))), &doc); err != nil {
		k.w.t.Fatalf("%s: %v", key, err)
	}
	return doc
}

func TestEtcdAsCoordinator(t *testing.T) {
	t.Parallel()
	testKeeper(t, (*world).etcd)
}

func TestZooKeeperAsCoordinator(t *testing.T) {
	t.Parallel()
	testKeeper(t, (*world).zookeeper)
}

// Who looks at a lock again and again, as the keeper of a dashboard does each second, has a
// ZooKeeper write nothing down, and sees what another session has done.
func TestLooksAtALockInAZooKeeperAreReadsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.zookeeper()
	d := w.dashboard(k.spec())
	reader := lock.NewReader(k.lock("own:18080"))
	t.Cleanup(reader.Close)
	look := func(want lock.State) {
		t.Helper()
		if v, err := reader.Read(t.Context()); err != nil || v.State != want {
			t.Fatalf("the lock is %+v, %v", v, err)
		}
	}
	look(lock.Taken)
	before := lastWritten(k.addr)
	for range 5 {
		look(lock.Taken)
	}
	if after := lastWritten(k.addr); before == "" || after != before {
		t.Errorf("looks had it write: %s, then %s", before, after)
	}
	d.proc.stop()
	look(lock.Nothing)
	k.proc.kill()
	if v, err := reader.Read(t.Context()); err == nil {
		t.Errorf("the lock of a store that is away is %+v", v)
	}
	k.proc = k.start()
	eventually(t, patience, "the lock is seen again", func() bool {
		v, err := reader.Read(t.Context())
		return err == nil && v.State == lock.Nothing
	})
}

// A server takes requests of 1 MiB: what does not fit into one goes in several.
func TestAProductOfManyNodesIsRemovedFromAZooKeeper(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.zookeeper()
	conn, _, err := zk.Connect([]string{k.addr}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	root, acl := k.key(), zk.WorldACL(zk.PermAll)
	nodes := []string{"/codis3", root, root + "/slots"}
	for i := range 12000 {
		nodes = append(nodes, fmt.Sprintf("%s/slots/slot-%05d", root, i))
	}
	for some := range slices.Chunk(nodes, 2000) {
		var request []any
		for _, node := range some {
			request = append(request, &zk.CreateRequest{Path: node, Data: []byte("{}"), Acl: acl})
		}
		if _, err := conn.Multi(request...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Create(root+"/topom", []byte(`{"admin_addr": "x:1"}`), 0, acl); err != nil {
		t.Fatal(err)
	}
	own := k.lock("own:18080")
	if pinned, err := lock.Pin(t.Context(), own, k.view(), lock.Tombstone{Owner: "uid"}); err != nil || !pinned {
		t.Fatalf("Pin() = %v, %v", pinned, err)
	}
	v := k.view()
	err = lock.Remove(t.Context(), own, v)
	for ; errors.Is(err, topology.ErrUnfinished); err = lock.Remove(t.Context(), own, v) {
		t.Log("The time for one try is over")
	}
	if got := k.view(); err != nil || got.State != lock.Nothing {
		t.Errorf("Remove() = %v, and there is %+v", err, got)
	}
}

// testKeeper runs one server through the life of a product, since starting one is dear.
func testKeeper(t *testing.T, start func(*world) *keeper) {
	t.Helper()
	w := newWorld(t)
	k := start(w)
	d := w.dashboard(k.spec())
	s := w.server(1)
	d.newGroup(1, s)
	p := w.proxy(1, proxySpec{})
	d.register(p)
	d.mustAssign(1023, 1023, 1)
	keysAreWhereCodisPutsThem(t, k, s, p)
	whoeverKnowsTheServerFindsTheDashboard(t, k, d)
	writesFailWhileItIsAway(t, k, d)

	d.ok("proxy/remove", p.token, 0)
	if k.read(k.key("proxy", "proxy-"+p.token)) != "" {
		t.Error("the proxy's key is still there")
	}
	d = lockOutlivesItsHolder(t, k, d)
	if got := d.group(1).order(); len(got) != 1 || got[0] != s.addr {
		t.Errorf("the group is %v after two dashboards", got)
	}
	d = promotionsOutliveTheirDashboard(t, k, d, s)
	d.proc.stop()
	if k.read(k.key("topom")) != "" {
		t.Error("SIGTERM left the lock")
	}
	productIsRemoved(t, k)
}

// lock of the product, for a holder.
func (k *keeper) lock(holder string) lock.Lock {
	return lock.Lock{Store: k.name, Addr: k.addr, Product: k.w.product, Holder: holder}
}

// view is the lock as the operator sees it.
func (k *keeper) view() lock.View {
	k.w.t.Helper()
	v, err := lock.Read(k.w.t.Context(), k.lock("own:18080"))
	if err != nil {
		k.w.t.Fatal(err)
	}
	return v
}

// productIsRemoved removes all that a dashboard kept, as the operator does; a namesake starts clean.
func productIsRemoved(t *testing.T, k *keeper) {
	t.Helper()
	ctx, own := t.Context(), k.lock("own:18080")
	neighbour := k.w.product + "-2"
	k.create("/codis3/"+neighbour+"/topom", `{"admin_addr": "x:1"}`)
	d := k.w.dashboard(k.spec())
	if len(d.stats().Group.Models) == 0 {
		t.Fatal("nothing is there that could be removed")
	}
	model, err := codis.Dashboard{Addr: d.addr, Product: k.w.product}.Model(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v := k.view()
	session := lock.Session{Token: model.Token, StartTime: model.StartTime}
	if v.State != lock.Taken || v.Session != session || !session.Known() || model.AdminAddr != v.Addr {
		t.Errorf("the dashboard says that it is %+v, and the lock %+v", model, v)
	}
	if pinned, err := lock.Pin(ctx, own, v, lock.Tombstone{Owner: "uid", Dashboard: "ns/d"}); err != nil || !pinned {
		t.Fatalf("Pin() = %v, %v", pinned, err)
	}
	if pinned, _ := lock.Pin(ctx, own, v, lock.Tombstone{Owner: "other"}); pinned {
		t.Error("it is pinned twice")
	}
	pinnedLockStays(t, k, d)
	v = k.view()
	if err := lock.Remove(ctx, own, v); err != nil {
		t.Fatal(err)
	}
	if got := k.view(); got.State != lock.Nothing {
		t.Errorf("there is %+v after the removal", got)
	}
	if err := lock.Remove(ctx, own, v); !errors.Is(err, topology.ErrChanged) {
		t.Errorf("Remove() of what is gone = %v", err)
	}
	if k.read("/codis3/"+neighbour+"/topom") == "" {
		t.Error("the neighbour's lock is gone")
	}
	namesake := k.w.dashboard(k.spec())
	if got := namesake.stats(); len(got.Group.Models) != 0 || got.Slots[1023].GroupID != 0 {
		t.Errorf("the namesake has groups %v, slot 1023 of group %d", got.Group.Models, got.Slots[1023].GroupID)
	}
	if err := lock.Remove(ctx, own, v); !errors.Is(err, topology.ErrChanged) || !namesake.isOnline() {
		t.Errorf("Remove() again, late = %v", err)
	}
	pinIsTakenBack(t, k)
}

// pinnedLockStays ends a dashboard whose lock is pinned, and starts another one: neither can release the lock.
func pinnedLockStays(t *testing.T, k *keeper, d *dashboard) {
	t.Helper()
	want := lock.Finding{Kind: lock.Removing, Addr: "ns/d"}
	for _, holder := range []string{d.addr, "another:18080"} {
		if found, err := lock.Check(t.Context(), k.lock(holder)); err != nil || found != want {
			t.Errorf("%s finds %v, %v", holder, found, err)
		}
	}
	d.proc.stop()
	waiting := k.w.startDashboard(k.spec("--remove-lock"))
	requireOffline(t, waiting)
	waiting.proc.kill()
	if v := k.view(); v.State != lock.Pinned || v.Tombstone == nil || v.Tombstone.Owner != "uid" {
		t.Errorf("after a dashboard ended, and one started, there is %+v", v)
	}
}

// pinIsTakenBack puts the lock of a dashboard back, which releases it when it ends.
func pinIsTakenBack(t *testing.T, k *keeper) {
	t.Helper()
	before := k.read(k.key("topom"))
	if pinned, err := lock.Pin(t.Context(), k.lock("own"), k.view(), lock.Tombstone{Owner: "uid"}); err != nil || !pinned {
		t.Fatalf("Pin() = %v, %v", pinned, err)
	}
	if err := lock.Unpin(t.Context(), k.lock("own"), k.view()); err != nil {
		t.Fatal(err)
	}
	if got := k.read(k.key("topom")); got != before {
		t.Errorf("the lock is %q, want %q", got, before)
	}
}

func keysAreWhereCodisPutsThem(t *testing.T, k *keeper, s *server, p *proxy) {
	t.Helper()
	want := map[string]any{"id": 1023., "group_id": 1., "action": map[string]any{}}
	if diff := cmp.Diff(want, k.document("slots/slot-1023")); diff != "" {
		t.Errorf("slot:\n%s", diff)
	}
	if k.read(k.key("slots/slot-0000")) != "" {
		t.Error("a slot that nobody touched is stored")
	}
	want = map[string]any{
		"id": 1., "promoting": map[string]any{}, "out_of_sync": true,
		"servers": []any{map[string]any{
			"server": s.addr, "datacenter": "", "action": map[string]any{}, "replica_group": false,
		}},
	}
	if diff := cmp.Diff(want, k.document("group/group-0001")); diff != "" {
		t.Errorf("group:\n%s", diff)
	}
	requireFields(t, k.document("topom"), "token", "start_time", "admin_addr", "product_name", "pid", "pwd", "sys")
	requireFields(t, k.document("proxy/proxy-"+p.token), "id", "token", "start_time", "admin_addr", "proto_type",
		"proxy_addr", "product_name", "pid", "pwd", "sys", "hostname", "datacenter")
}

func whoeverKnowsTheServerFindsTheDashboard(t *testing.T, k *keeper, d *dashboard) {
	t.Helper()
	d.registersItself(k.w.proxy(2, proxySpec{args: []string{"--" + k.name, k.addr}}))
	fe := k.w.frontend("--"+k.name, k.addr)
	if got := fe.list(); got != "["+k.w.product+"]" {
		t.Errorf("the frontend finds %s", got)
	}
}

// What the dashboard knows it goes on answering; what it would have to store is refused, and leaves no trace.
func writesFailWhileItIsAway(t *testing.T, k *keeper, d *dashboard) {
	t.Helper()
	k.proc.kill()
	d.refused("store: create group-[2] failed", "group/create", 2)
	k.proc = k.start()
	eventually(t, patience, "the dashboard finds the server again", func() bool {
		if !d.isOnline() { // It answers "load group failed" until then.
			return false
		}
		r, err := request(http.MethodPut, d.url(d.path("group/create", 3)), nil)
		return err == nil && r.isOK()
	})
	if got := len(d.stats().Group.Models); got != 2 {
		t.Errorf("the dashboard knows %d groups", got)
	}
	if k.read(k.key("group/group-0002")) != "" {
		t.Error("what was refused is stored")
	}
	d.ok("group/remove", 3)
}

// promotionsOutliveTheirDashboard leaves a promotion in each of its states: the next dashboard finds it as it was left,
// and finishes it when it is asked for again.
func promotionsOutliveTheirDashboard(t *testing.T, k *keeper, d *dashboard, s *server) *dashboard {
	t.Helper()
	p := k.w.proxy(3, proxySpec{})
	d.register(p)
	d.ok("group/add", 1, k.w.server(2).addr)
	for _, state := range []string{"preparing", "prepared", "finished"} {
		order := d.group(1).order()
		want := []string{order[1], order[0]}
		left := action{Index: 1, State: state}
		if state == "finished" {
			order, left.Index = want, 0
		}
		d.proc.kill()
		k.write(k.key("group/group-0001"), fmt.Sprintf(
			`{"id": 1, "servers": [{"server": %q}, {"server": %q}], "promoting": {"index": %d, "state": %q}}`,
			order[0], order[1], left.Index, state))
		d = k.w.dashboard(k.spec("--remove-lock"))
		if got := d.group(1).Promoting; got != left {
			t.Errorf("%s: the next dashboard finds %+v", state, got)
		}
		if got := d.slots()[1023].Locked; got != (state == "prepared") {
			t.Errorf("%s: slot 1023 is locked: %v", state, got)
		}
		d.ok("group/promote", 1, order[left.Index])
		if got := d.group(1); got.Promoting != (action{}) || !slices.Equal(got.order(), want) {
			t.Errorf("%s: the group is %+v", state, got)
		}
		if got := k.document("group/group-0001")["promoting"]; !cmp.Equal(got, any(map[string]any{})) {
			t.Errorf("%s: promoting is stored as %v", state, got)
		}
		if got := p.slots()[1023]; got.Locked || got.Backend != want[0] {
			t.Errorf("%s: the proxy has %+v", state, got)
		}
	}
	if d.group(1).order()[0] == s.addr { // Three promotions of two servers.
		t.Error("the first server is master again")
	}
	return d
}

// lockOutlivesItsHolder also holds to it how the operator tells a lock that is held from one that is left.
func lockOutlivesItsHolder(t *testing.T, k *keeper, d *dashboard) *dashboard {
	t.Helper()
	look := func(holder string) lock.Finding {
		t.Helper()
		found, err := lock.Check(t.Context(), k.lock(holder))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got, want := look("another:18080"), (lock.Finding{Kind: lock.Held, Addr: d.addr}); got != want {
		t.Errorf("while the dashboard runs another one finds %v, want %v", got, want)
	}
	if got := look(d.addr); got.Present() {
		t.Errorf("the dashboard finds %v, which is itself", got)
	}
	d.proc.kill()
	if got := look("another:18080"); got.Present() {
		t.Errorf("after SIGKILL another one finds %v", got)
	}
	if k.document("topom")["admin_addr"] != d.addr {
		t.Error("SIGKILL released the lock")
	}
	waiting := k.w.startDashboard(k.spec())
	requireOffline(t, waiting)
	waiting.proc.kill()
	return k.w.dashboard(k.spec("--remove-lock"))
}
