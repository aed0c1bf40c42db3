// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
)

// sentinel is one redis-sentinel.
type sentinel struct {
	w    *world
	n    int
	addr string
	dir  string
	proc *process
}

// sentinel starts sentinel number n, which monitors nothing.
func (w *world) sentinel(n int) *sentinel {
	w.t.Helper()
	s := &sentinel{
		w: w, n: n, addr: w.at(portSentinel + n), dir: filepath.Join(w.dir, fmt.Sprintf("sentinel-%d", n)),
	}
	s.writeConfig()
	s.start()
	return s
}

func (s *sentinel) configPath() string { return filepath.Join(s.dir, "sentinel.conf") }

// writeConfig writes the file in which a sentinel keeps what it knows, with nothing known. It has to be told its
// address, because newer ones connect to others from whichever the system chooses.
func (s *sentinel) writeConfig() {
	s.w.t.Helper()
	writeFile(s.w.t, s.configPath(), fmt.Sprintf("bind %s\nport %d\ndir %s\nsentinel announce-ip %s\n",
		s.w.ip, portSentinel+s.n, s.dir, s.w.ip))
}

// announced is the line with which a server tells its master, and so sentinels, the address of the world as its own.
func (w *world) announced() string { return "slave-announce-ip " + w.ip }

// start starts the process as the release's own script does, every second one as codis-server.
func (s *sentinel) start() {
	s.w.t.Helper()
	path, args := binary("redis-sentinel"), []string{s.configPath()}
	if s.n%2 == 0 {
		path, args = binary("codis-server"), []string{s.configPath(), "--sentinel"}
	}
	s.proc = startProcess(s.w.t, s.w.dir, fmt.Sprintf("sentinel-%d", s.n), path, args...)
	eventually(s.w.t, patience, "the sentinel answers", func() bool {
		return s.proc.exited() || askText(s.addr, "PING") == "PONG"
	})
	if s.proc.exited() {
		s.w.t.Fatalf("sentinel %d left with code %d", s.n, s.proc.exitCode(patience))
	}
}

func (s *sentinel) must(args ...any) any {
	s.w.t.Helper()
	v, err := ask(s.addr, args...)
	if err != nil {
		s.w.t.Fatalf("%v on %s: %v", args, s.addr, err)
	}
	return v
}

// masters is what the sentinel monitors, by name.
func (s *sentinel) masters() map[string]map[string]string {
	s.w.t.Helper()
	masters := map[string]map[string]string{}
	for _, row := range rows(s.must("SENTINEL", "masters")) {
		masters[row["name"]] = row
	}
	return masters
}

// rows are the maps of an array of arrays.
func rows(reply any) []map[string]string {
	var all []map[string]string
	for _, row := range reply.([]any) {
		fields := map[string]string{}
		for pair := range slices.Chunk(row.([]any), 2) {
			fields[fmt.Sprint(pair[0])] = fmt.Sprint(pair[1])
		}
		all = append(all, fields)
	}
	return all
}

// names are the names of what the sentinel monitors, sorted.
func (s *sentinel) names() string {
	s.w.t.Helper()
	var names []string
	for name := range s.masters() {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (s *sentinel) requireNames(want string) {
	s.w.t.Helper()
	if got := s.names(); got != want {
		s.w.t.Fatalf("%s monitors %q, want %q", s.addr, got, want)
	}
}

// persuade makes the sentinel believe, as if another one had carried out a failover with this epoch, that the master
// of name is at addr. It announces that as any switch.
func (s *sentinel) persuade(name, addr string, epoch int) {
	s.w.t.Helper()
	ip, port, _ := strings.Cut(addr, ":")
	s.must("PUBLISH", "__sentinel__:hello", fmt.Sprintf("%s,%d,%040d,%d,%s,%s,%s,%d",
		s.w.ip, portNobody, 1, epoch, name, ip, port, epoch))
	if m := s.masters()[name]; m["ip"]+":"+m["port"] != addr {
		s.w.t.Fatalf("%s has the master of %s at %s:%s", s.addr, name, m["ip"], m["port"])
	}
}

// withSentinels is a dashboard that is to talk to sentinels. The original writes the next commands to one while it may
// still be busy with those before, which costs it the connection: on two processors that fails one resync of eight, on
// one next to none. What has to succeed is tried again.
func withSentinels(s settings) dashboardSpec {
	return dashboardSpec{settings: s, args: []string{"--ncpu", "1"}}
}

// cutOff is what is left to see of that.
const cutOff = "use of closed network connection"

func (d *dashboard) resyncSentinels() {
	d.t.Helper()
	d.untilOK(cutOff, "sentinels/resync-all")
}

// delSentinel forgets a sentinel that answers.
func (d *dashboard) delSentinel(s *sentinel) {
	d.t.Helper()
	d.untilOK(fmt.Sprintf("remove sentinel %s failed", s.addr), "sentinels/del", s.addr, 0)
}

// untilOK calls again while the cause of the refusal ends like this.
func (d *dashboard) untilOK(cause, verb string, params ...any) {
	d.t.Helper()
	var got reply
	if !poll(patience, func() bool {
		got = d.put(verb, params...)
		return !strings.HasSuffix(got.cause(), cause)
	}) || !got.isOK() {
		d.t.Fatalf("%s %v: %s", verb, params, got.cause())
	}
}

// sentinels starts n sentinels and registers them; nothing is monitored yet.
func (d *dashboard) sentinels(n int) []*sentinel {
	d.t.Helper()
	var all []*sentinel
	for i := range n {
		s := d.w.sentinel(i + 1)
		d.ok("sentinels/add", s.addr)
		all = append(all, s)
	}
	return all
}

// sentinelModel is the list of sentinels as stored.
func (d *dashboard) sentinelModel() sentinelModel {
	d.t.Helper()
	return d.stats().Sentinels.Model
}

// requireSentinels compares the list, and whether sentinels know the groups as they are.
func (d *dashboard) requireSentinels(outOfSync bool, servers ...*sentinel) {
	d.t.Helper()
	want := sentinelModel{OutOfSync: outOfSync}
	for _, s := range servers {
		want.Servers = append(want.Servers, s.addr)
	}
	if got := d.sentinelModel(); fmt.Sprint(got) != fmt.Sprint(want) {
		d.t.Fatalf("the sentinels are %+v, want %+v", got, want)
	}
}

// seesMaster tells whether the sentinels' word about a group has reached the dashboard.
func (d *dashboard) seesMaster(gid int, addr string) bool {
	return d.stats().Sentinels.Masters[fmt.Sprint(gid)] == addr
}

// monitored is what the dashboard is told by a sentinel when it is asked to.
func (d *dashboard) monitored(addr string) map[string]monitoredGroup {
	d.t.Helper()
	var groups map[string]monitoredGroup
	d.get("/api/topom/sentinels/info/"+addr+"/monitored", &groups)
	return groups
}

// refusedWith fails the test unless the call is refused with a cause that contains this.
func (a *api) refusedWith(part, verb string, params ...any) {
	a.t.Helper()
	r := a.put(verb, params...)
	if r.status != statusError || !strings.Contains(r.cause(), part) {
		a.t.Fatalf("%s %v: got %q, want %q in it", verb, params, r.cause(), part)
	}
}

func (w *world) refusedConnection(addr string) string {
	return fmt.Sprintf("dial tcp %s: connect: connection refused", addr)
}

// putSentinels gives a proxy its list past the dashboard.
func (p *proxy) putSentinels(servers ...*sentinel) {
	p.t.Helper()
	var m sentinelModel
	for _, s := range servers {
		m.Servers = append(m.Servers, s.addr)
	}
	if r := p.send(http.MethodPut, p.path("sentinels"), m); !r.isOK() {
		p.t.Fatalf("sentinels: %s", r.cause())
	}
}
