// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
	"github.com/codis-io/codis-operator/internal/zookeeper"
)

// zooKeeper keeps a ZooKeeper. Who has a vote is written in its own dynamic
// configuration; who joins without one yet, only in the seats: ZooKeeper takes a
// server in as a follower without a vote that it was not told of, and gives a
// vote only to one that follows. Identities are counted up, so that none is used
// again while anybody may remember it.
type zooKeeper struct{}

const (
	zookeeperDir = "/var/lib/zookeeper"
	probeVolume  = "probe"
	probeDir     = "/probe"
	probeProgram = probeDir + "/member-gate"
)

func (zooKeeper) ports() []corev1.ContainerPort {
	return []corev1.ContainerPort{
		{Name: "client", ContainerPort: zookeeper.PortClient},
		{Name: "peer", ContainerPort: zookeeper.PortPeer},
		{Name: "election", ContainerPort: zookeeper.PortElection},
	}
}

func (zooKeeper) peer(c *v1alpha1.CodisCoordinator, domain naming.Domain, ordinal int) string {
	return domain.CoordinatorAddr(c.Namespace, c.Name, ordinal, zookeeper.PortPeer)
}

func (zooKeeper) founder(*v1alpha1.CodisCoordinator, naming.Domain) roster.ID { return 1 }

// files of a member: its settings, and whom it begins with. A founder begins
// alone. One that joins knows those who are there, and itself as an observer, so
// that several which join could never take each other for an ensemble. One that
// has joined gets nobody else from here.
func (k zooKeeper) files(
	c *v1alpha1.CodisCoordinator, domain naming.Domain, e *ensemble, ordinal int, given map[int]seat.Seat,
) map[string]string {
	s, pod := given[ordinal], naming.CoordinatorPod(c.Name, ordinal)
	id, err := roster.ParseID(s.ID)
	if err != nil {
		return nil // No seat has an identity that cannot be read.
	}
	self := roster.Member{
		ID: id, PeerURLs: []string{k.peer(c, domain, ordinal)}, Learner: !s.Fresh || !s.Founder,
	}
	var lines []string
	if s.Fresh && !s.Founder {
		for _, m := range e.voters() {
			lines = append(lines, zookeeper.Line(m))
		}
	}
	lines = append(lines, zookeeper.Line(self))
	return map[string]string{
		pod + ".cfg":     config.ZooKeeper(zookeeperDir + "/" + s.ID),
		pod + ".members": strings.Join(lines, "\n") + "\n",
	}
}

// dress makes a pod whose gate writes the member's files and leaves a probe.
func (k zooKeeper) dress(pod *podtemplate.Pod) {
	const current = zookeeperDir + "/" + zookeeper.CurrentDir
	pod.Image = pod.Images.ZooKeeper
	pod.Volumes = append(pod.Volumes, podtemplate.EmptyDir(probeVolume))
	probe := corev1.VolumeMount{Name: probeVolume, MountPath: probeDir}
	pod.Gate = &corev1.Container{
		Name: gateContainer, Env: []corev1.EnvVar{podName()}, VolumeMounts: append(mounts(zookeeperDir), probe),
		Command: []string{
			"/member-gate", "--seat=" + seatDir + "/$(POD_NAME).json", "--volume=" + zookeeperDir,
			"--zookeeper=" + seatDir + "/$(POD_NAME)", "--install=" + probeDir,
		},
	}
	probe.ReadOnly = true
	pod.Container = corev1.Container{
		Name: "zookeeper", VolumeMounts: append(mounts(zookeeperDir), probe), Ports: k.ports(),
		Command: []string{"zkServer.sh", "start-foreground", current + "/" + zookeeper.ConfigFile},
		Env: []corev1.EnvVar{
			// Members find each other by name, also after one got a new address.
			{Name: "JVMFLAGS", Value: "-Xmx192m -XX:-UsePerfData -Dsun.net.inetaddr.ttl=1 -Dsun.net.inetaddr.negative.ttl=1"},
			{Name: "ZOO_LOG_DIR", Value: current},
		},
		// A member that is cut off is not ready; restarting it would not help.
		ReadinessProbe: podtemplate.ExecProbe(2, 3, probeProgram, "--ask=srvr"),
		LivenessProbe:  podtemplate.ExecProbe(10, 6, probeProgram, "--ask=ruok"),
	}
}

func (zooKeeper) client(pod *corev1.Pod) zookeeper.Client {
	return zookeeper.Client{
		Addr: net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(zookeeper.PortClient)), Timeout: askTimeout,
	}
}

func (k zooKeeper) ask(ctx context.Context, s *state) {
	s.ensemble.elects = true
	views := make([]*zookeeper.View, len(s.pods))
	var asked sync.WaitGroup
	for i, pod := range s.pods {
		if pod == nil || pod.Status.PodIP == "" || podtemplate.Ended(pod) {
			continue
		}
		asked.Go(func() {
			if view, err := k.client(pod).Look(ctx); err == nil {
				views[i] = &view
			}
		})
	}
	asked.Wait()
	s.version = s.ensemble.compose(views)
	s.ensemble.inherit()
}

// compose puts together what the members see, and returns the version of the
// list that is agreed upon. It is pure. Who follows without that a leader answers
// follows somebody all the same.
func (e *ensemble) compose(views []*zookeeper.View) int64 {
	views = slices.Clone(views)
	for i, v := range views {
		if v != nil && e.places[i].strange(v) {
			views[i] = nil
		}
	}
	leading, newest := foremost(views)
	leader := roster.Unknown
	if leading != nil {
		leader, newest = leading.ID, leading
	}
	if newest == nil {
		return 0
	}
	voting := newest.Config.Members
	votes := func(id roster.ID) bool {
		return slices.ContainsFunc(voting, func(m roster.Member) bool { return m.ID == id && !m.Learner })
	}
	for i, v := range views {
		if v == nil {
			continue
		}
		status := roster.Status{MemberID: v.ID, Leader: leader, Learner: !votes(v.ID)}
		if v.Leads {
			status.Leader = v.ID
		}
		e.places[i].status = &status
	}
	e.agree(slices.Clone(voting))
	return newest.Config.Version
}

// strange tells whether a member of another ensemble answers at the place, as with an etcd:
// by its own word it votes elsewhere. One without a vote is in no list, and is not believed.
func (p *place) strange(v *zookeeper.View) bool {
	return slices.ContainsFunc(v.Config.Members, func(m roster.Member) bool {
		return m.ID == v.ID && !slices.Contains(m.PeerURLs, p.peerURL)
	})
}

// foremost finds who leads, and who has the newest list; nil for nobody. Of two
// that lead, the one of the newer epoch does: the other one has not noticed yet.
func foremost(views []*zookeeper.View) (leading, newest *zookeeper.View) {
	for _, v := range views {
		if v == nil {
			continue
		}
		if v.Leads && (leading == nil || v.Epoch > leading.Epoch) {
			leading = v
		}
		if !v.Observes && (newest == nil || v.Config.Version > newest.Config.Version) {
			newest = v
		}
	}
	return leading, newest
}

// agree takes over a list of members, and after them those who sit where nobody
// votes: they are joining. A member has started when it answered once, or its
// seat says so.
func (e *ensemble) agree(voting []roster.Member) {
	e.agreed, e.founded = voting, true
	for i := range e.places {
		p := &e.places[i]
		if p.seat == nil || slices.ContainsFunc(voting, func(m roster.Member) bool { return e.placeOf(m) == p }) {
			continue
		}
		if id, err := roster.ParseID(p.seat.ID); err == nil {
			e.agreed = append(e.agreed, roster.Member{ID: id, PeerURLs: []string{p.peerURL}, Learner: true})
		}
	}
	for i, m := range e.agreed {
		p := e.placeOf(m)
		if p == nil {
			continue
		}
		answers := p.status != nil && p.status.MemberID == m.ID
		if answers || p.seat != nil && p.seat.ID == m.ID.String() && !p.seat.Fresh {
			e.agreed[i].Name = p.pod
		}
	}
}

// inherit lets the list on a volume that outlived its ensemble count as heard,
// while nobody but the first sits anywhere.
func (e *ensemble) inherit() {
	for i := 1; i < len(e.places); i++ {
		if e.places[i].seat != nil {
			return
		}
	}
	for i := range e.places {
		if p := &e.places[i]; p.seat != nil && !p.seat.Fresh {
			p.heard = zookeeper.ParseConfig(p.said).Members
		}
	}
}

// change adds a member by giving it a seat, and takes one out of the ensemble
// before its seat: a crash in between leaves a seat without a vote, which is
// taken away as one that is not wanted.
func (k zooKeeper) change(ctx context.Context, r *Reconciler, s *state) error {
	d := s.decision
	switch d.verb {
	case add:
		id := s.ensemble.nextID()
		err := r.reseat(ctx, s, func(given map[int]seat.Seat) {
			given[d.place.ordinal] = seat.Seat{ID: id.String(), Fresh: true}
		})
		if err == nil {
			r.added(s, id)
		}
		return refusal(d, err)
	case promote:
		return refusal(d, k.reconfigure(s, func(c zookeeper.Client) error {
			return c.Join(ctx, roster.Member{ID: d.id, PeerURLs: []string{d.place.peerURL}}, s.version)
		}))
	case remove:
		return refusal(d, k.remove(ctx, r, s))
	case keep, wait, hold, replace, transfer, relieve: // No change of the ensemble.
	}
	return nil
}

func (k zooKeeper) remove(ctx context.Context, r *Reconciler, s *state) error {
	d := s.decision
	if slices.ContainsFunc(s.ensemble.voters(), func(m roster.Member) bool { return m.ID == d.id }) {
		err := k.reconfigure(s, func(c zookeeper.Client) error { return c.Leave(ctx, d.id, s.version) })
		if err != nil {
			return err
		}
	}
	err := r.reseat(ctx, s, func(given map[int]seat.Seat) { delete(given, d.place.ordinal) })
	if err == nil {
		r.removed(s)
	}
	return err
}

// reconfigure asks the leader, or whoever follows one that does not answer.
func (k zooKeeper) reconfigure(s *state, ask func(zookeeper.Client) error) error {
	asked := s.leading()
	for i := range s.ensemble.places {
		if p := &s.ensemble.places[i]; asked == nil && p.status != nil && !p.status.Learner {
			asked = p
		}
	}
	if asked == nil {
		return errNoLeader
	}
	c := k.client(s.pods[asked.ordinal])
	c.Timeout = changeTimeout
	return ask(c)
}

// nextID is an identity that nobody has, and that nobody had lately.
func (e *ensemble) nextID() roster.ID {
	taken := map[roster.ID]bool{}
	last := e.lastID
	for _, m := range e.agreed {
		taken[m.ID] = true
		last = max(last, m.ID)
	}
	next := last + 1
	if next > zookeeper.MaxID {
		next = 1
	}
	for taken[next] {
		next++
	}
	return next
}

// reseat writes other seats than those of this pass.
func (r *Reconciler) reseat(ctx context.Context, s *state, change func(map[int]seat.Seat)) error {
	given := maps.Clone(s.given)
	change(given)
	err := apply.Applier{Client: r.Client, Reader: r.Reader}.Objects(ctx, s.coordinator,
		configMap(s.coordinator, s.keeper, r.Domain, &s.ensemble, given))
	if err != nil {
		return fmt.Errorf("write down who sits where: %w", err)
	}
	return nil
}
