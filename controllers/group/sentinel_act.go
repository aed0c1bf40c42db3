// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/sentinel"
)

// sentinelTimeout bounds each dial and each command to a sentinel. They are asked side
// by side with the members, whose answers are waited for no longer.
const sentinelTimeout = 300 * time.Millisecond

// led tells whether sentinels replace a master of the group that fails, by the record.
func (s *state) led() bool { return s.group.Status.FailoverBy == v1alpha1.FailoverBySentinel }

// watchedBySpec tells whether sentinels are asked for.
func (s *state) watchedBySpec() bool { return s.dashboard != nil && s.dashboard.Spec.Sentinel != nil }

// monitor is the name of the group on sentinels.
func (s *state) monitor() string {
	return naming.Monitor(product.Name(s.dashboard), int(s.group.Spec.ID))
}

// observeSentinels asks the sentinels of the dashboard about the group, side by side.
func (r *Reconciler) observeSentinels(ctx context.Context, s *state) (lookouts, error) {
	l := lookouts{led: s.led()}
	if s.dashboard == nil || !l.led && !s.watchedBySpec() {
		return l, nil
	}
	if s.watchedBySpec() {
		l.wanted, l.quorum = config.Sentinels(s.dashboard.Spec.Sentinel), config.MonitorOf(s.dashboard.Spec.Sentinel).Quorum
	}
	pods := &corev1.PodList{}
	err := r.Client.List(ctx, pods, client.InNamespace(s.group.Namespace),
		client.MatchingLabels(naming.Selector(naming.ComponentSentinel, s.dashboard.Name)))
	if err != nil {
		return l, fmt.Errorf("list sentinels: %w", err)
	}
	for ordinal := range l.wanted {
		name := naming.SentinelPod(s.dashboard.Name, ordinal)
		l.all = append(l.all, lookout{pod: name, absent: true})
	}
	for i := range pods.Items {
		o := lookoutOf(&pods.Items[i])
		at := slices.IndexFunc(l.all, func(other lookout) bool { return other.pod == o.pod })
		if at < 0 {
			l.all = append(l.all, o)
		} else {
			l.all[at] = o
		}
	}
	var wg sync.WaitGroup
	for i := range l.all {
		if l.all[i].addr != "" {
			wg.Go(func() { l.all[i].View = tower.Look(ctx, l.all[i].addr, s.monitor()) })
		}
	}
	wg.Wait()
	return l, nil
}

// tower is the client for sentinels, which need no password.
var tower = sentinel.Client{Timeout: sentinelTimeout}

func lookoutOf(pod *corev1.Pod) lookout {
	o := lookout{pod: pod.Name, uid: pod.UID, absent: !podtemplate.Started(pod)}
	if pod.Status.PodIP != "" && !podtemplate.Ended(pod) {
		o.addr = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(naming.PortSentinel))
	}
	return o
}

// completeLookouts adds what shows only beside the members, the dashboard's answer, and
// what the status remembers.
func (r *Reconciler) completeLookouts(s *state) {
	if s.stats != nil {
		s.world.lookouts.foreign = slices.ContainsFunc(s.stats.Sentinels.Model.Servers,
			func(addr string) bool { return !r.ours(s, addr) })
	}
	s.world.lookouts.mute = r.muteSentinel(s)
	r.recallTold(s)
	r.timeElection(s)
}

// timeElection tells for how long sentinels have had another master than the dashboard.
func (r *Reconciler) timeElection(s *state) {
	s.world.lookouts.electedFor = 0
	appointed := s.world.appointed()
	if appointed == nil {
		r.elections.Delete(s.group.UID)
		return
	}
	now := election{appointed.name, r.Clock.Now()}
	before, _ := r.elections.LoadOrStore(s.group.UID, now)
	if seen, ok := before.(election); ok && seen.member == appointed.name {
		s.world.lookouts.electedFor = r.Clock.Since(seen.since)
		return
	}
	r.elections.Store(s.group.UID, now)
}

// election is whom sentinels made master without the dashboard knowing, and since when
// this operator sees it.
type election struct {
	member string
	since  time.Time
}

// ours tells whether an address is that of a sentinel of the operator.
func (r *Reconciler) ours(s *state, addr string) bool {
	for _, o := range s.world.lookouts.all {
		ordinal, ok := ordinalOf(o.pod)
		if ok && r.Domain.SentinelAddr(s.group.Namespace, s.dashboard.Name, ordinal) == addr {
			return true
		}
	}
	return false
}

func ordinalOf(pod string) (int, bool) {
	at := len(pod) - 1
	for at >= 0 && pod[at] != '-' {
		at--
	}
	ordinal, err := strconv.Atoi(pod[at+1:])
	return ordinal, err == nil && at >= 0
}

// masterAddr is what replicas are told to follow: the name of the master, or the
// address of its pod where sentinels are asked for, or may still run, which know nothing
// else and would tell every replica so themselves, all at a time.
func (s *state) masterAddr(master member) string {
	if (s.led() || s.watchedBySpec()) && master.ip != "" {
		return redisAddr(master)
	}
	return master.addr
}

// keepMonitors has the sentinels watch the master of the group, or hands the group
// over to them or back.
//
// Invariant: operator and sentinels never both replace a master that fails. The record
// in the status goes before the first sentinel watches the group, and is taken back
// when no sentinel can run any more; it fails to be written while a promotion by
// another operator is recorded at the same time. After a crash behind any line the
// next pass looks again; each command is safe to repeat.
func (r *Reconciler) keepMonitors(ctx context.Context, s *state) (time.Duration, error) {
	switch {
	case s.dashboard == nil || s.invalid.Present() || !s.led() && !s.watchedBySpec():
		return 0, nil
	case !s.led():
		return r.handToSentinels(ctx, s)
	case !s.watchedBySpec():
		return r.takeFromSentinels(ctx, s)
	}
	if s.decision.verb == keep && !s.halfDone && s.held == "" && s.group.Status.Promotion == nil {
		plan := planMonitors(s.world, *s.decision.master, s.wantedMonitor(), s.countsSentinel)
		if plan.done() && plan.held == "" {
			r.takeRoutesBack(ctx, s)
		}
		return r.tellSentinels(ctx, s, plan)
	}
	addresses, err := r.takenAddresses(ctx, s)
	if err != nil {
		return 0, err
	}
	taken := func(addr string) bool { return addresses[addr] }
	if s.decision.verb == wait || s.decision.verb == hold {
		return r.tellSentinels(ctx, s, planWithoutMaster(s.world, taken))
	}
	return r.tellSentinels(ctx, s, planMisled(s.world, taken))
}

// takeRoutesBack sends proxies the routes that the dashboard knows if one of them goes
// by what sentinels said of the group, which may have been wrong for a while. All agree
// by now. A proxy does not tell of which group it goes by them; its routes do.
func (r *Reconciler) takeRoutesBack(ctx context.Context, s *state) {
	if s.stats == nil || s.world.behind || s.group.Status.Slots == 0 {
		return
	}
	for _, proxy := range s.stats.Proxy.Models {
		stats := s.stats.Proxy.Stats[proxy.Token].Stats
		if stats != nil && stats.Sentinels.Switched && s.astray(ctx, proxy) {
			s.try("resync the group", s.api.ResyncGroup(ctx, int(s.group.Spec.ID)))
			return
		}
	}
}

// astray tells whether a proxy has a route of the group that is not the dashboard's.
func (s *state) astray(ctx context.Context, proxy codis.Proxy) bool {
	routes, err := s.proxies.Routes(ctx, proxy.AdminAddr)
	if err != nil {
		return false // The next pass asks again.
	}
	gid := int(s.group.Spec.ID)
	return slices.ContainsFunc(routes, func(route codis.Route) bool {
		return route.Concerns(gid) && !route.Leads(gid, s.decision.master.addr)
	})
}

func (s *state) wantedMonitor() sentinel.Settings {
	return sentinel.Settings(config.MonitorOf(s.dashboard.Spec.Sentinel))
}

// countsSentinel tells whether an identity is that of a sentinel that shall be.
func (s *state) countsSentinel(id string) bool {
	return slices.ContainsFunc(s.world.lookouts.all, func(o lookout) bool {
		return naming.SentinelID(s.group.Namespace, o.pod) == id
	})
}

// tellSentinels carries a plan out. All forget before the first is told anew.
func (r *Reconciler) tellSentinels(ctx context.Context, s *state, plan monitors) (time.Duration, error) {
	if plan.done() {
		return 0, nil
	}
	all, name := s.world.lookouts.all, s.monitor()
	for _, i := range slices.Concat(plan.forget, plan.watch, plan.tune) {
		if there, err := r.sentinelThere(ctx, s, all[i]); err != nil || !there {
			return reconcile.Soon, err
		}
	}
	if err := r.heldUp(s); err != nil { // They may have agreed on another master meanwhile.
		return reconcile.Closely, err
	}
	var errs []error
	for _, i := range plan.forget {
		errs = append(errs, tower.Forget(ctx, all[i].addr, name))
	}
	if errors.Join(errs...) == nil && len(plan.watch) > 0 {
		errs = append(errs, r.watchMaster(ctx, s, plan))
	}
	for _, i := range plan.tune {
		err := tower.Tune(ctx, all[i].addr, name, s.password, s.wantedMonitor())
		if err == nil {
			r.rememberTold(s, all[i], false)
		}
		errs = append(errs, err)
	}
	if errors.Join(errs...) == nil && plan.corrected != "" {
		r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonMonitorCorrected, "Monitor",
			"sentinels watched %s, which is not the master of this group", plan.corrected)
	}
	return reconcile.Soon, nil // Who did not answer is seen in the next pass.
}

// watchMaster has those sentinels of a plan watch the master that do not. One whose pod
// has another address by now is looked at again first.
func (r *Reconciler) watchMaster(ctx context.Context, s *state, plan monitors) error {
	master := *s.decision.master
	if err := r.stillThere(ctx, s, master); err != nil {
		return err
	}
	var errs []error
	for _, i := range plan.watch {
		o := s.world.lookouts.all[i]
		err := tower.Watch(ctx, o.addr, s.monitor(), redisAddr(master), s.password, s.wantedMonitor())
		if err == nil {
			r.rememberTold(s, o, true)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sentinelThere asks past the cache whether an address still belongs to the pod of a
// sentinel: it may be that of another product's by now.
func (r *Reconciler) sentinelThere(ctx context.Context, s *state, o lookout) (bool, error) {
	pod := &corev1.Pod{}
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: s.group.Namespace, Name: o.pod}, pod)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("get pod %s: %w", o.pod, err)
	}
	return err == nil && lookoutOf(pod).addr == o.addr, nil
}

// takenAddresses are the addresses of servers that pods outside the group have now.
func (r *Reconciler) takenAddresses(ctx context.Context, s *state) (map[string]bool, error) {
	taken := map[string]bool{}
	strange := func(addr string) bool { return s.world.byServer(addr) == nil }
	misled := s.world.lookouts.count(func(o lookout) bool {
		return o.Watches && (strange(o.Addr) || slices.ContainsFunc(o.Replicas, strange))
	})
	if misled == 0 {
		return taken, nil
	}
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		member := pod.Namespace == s.group.Namespace && s.world.byName(pod.Name) != nil
		if pod.Status.PodIP != "" && !member && !podtemplate.Ended(pod) {
			taken[net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(naming.PortServer))] = true
		}
	}
	return taken, nil
}
