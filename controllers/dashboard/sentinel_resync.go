// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/product"
	"github.com/codis-io/codis-operator/internal/reconcile"
)

// resyncPause is how long the dashboard is left alone after it was asked to tell all
// sentinels anew: they know nothing for some seconds then.
const resyncPause = 10 * time.Second

// resyncSentinels has the dashboard tell all sentinels and proxies anew if one of them
// was not told of a change, and nobody is harmed by it. Else the proxies alone are told.
func (r *Reconciler) resyncSentinels(ctx context.Context, s *state) time.Duration {
	if !staleSentinels(s.stats) || s.dashboard.Spec.Sentinel == nil && len(s.sentinels.plan.foreign) > 0 {
		return reconcile.Steady
	}
	s.sentinels.held = r.resyncHeld(s)
	if s.sentinels.held != "" {
		s.sentinels.untold = r.tellProxies(ctx, s)
		return reconcile.Later
	}
	now := r.Clock.Now()
	if last, ok := r.resynced.Load(s.dashboard.UID); ok {
		at, _ := last.(time.Time)
		if left := at.Add(resyncPause).Sub(now); left > 0 {
			s.sentinels.held = "they were told a moment ago"
			return left
		}
	}
	r.resynced.Store(s.dashboard.UID, now)
	s.tried("tell all sentinels anew", s.api.ResyncSentinels(ctx))
	return reconcile.Soon
}

// staleSentinels tells whether a sentinel or a proxy does not know what the dashboard
// does.
func staleSentinels(stats *codis.Stats) bool {
	return stats.Sentinels.Model.OutOfSync || len(untoldProxies(stats)) > 0
}

// untoldProxies are those that listen to other sentinels than the dashboard knows.
func untoldProxies(stats *codis.Stats) []codis.Proxy {
	return slices.DeleteFunc(slices.Clone(stats.Proxy.Models), func(proxy codis.Proxy) bool {
		state := stats.Proxy.Stats[proxy.Token].Stats
		return state == nil || slices.Equal(state.Sentinels.Servers, stats.Sentinels.Model.Servers)
	})
}

// tellTimeout bounds how long a proxy may take to be told of the sentinels.
const tellTimeout = time.Second

// tellProxies tells proxies which sentinels there are without the dashboard, which
// would have sentinels forget all groups for that, and watch all of them: proxies hear
// of the elections of groups that are handed over, whatever becomes of the others. What
// the dashboard stored meanwhile the next pass finds out. Nobody is told while a
// sentinel watches a group that is not handed over: proxies would believe it.
func (r *Reconciler) tellProxies(ctx context.Context, s *state) error {
	untold := untoldProxies(s.stats)
	if len(untold) == 0 || s.misleading() {
		return nil
	}
	password, err := product.Password(ctx, r.Reader, s.dashboard.Namespace, product.AuthSecret(s.dashboard))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	failed := make([]error, len(untold))
	var wg sync.WaitGroup
	for i, proxy := range untold {
		wg.Go(func() { failed[i] = tellProxy(ctx, codis.Proxies{Password: password}, proxy, s.knownSentinels()) })
	}
	wg.Wait()
	for i, proxy := range untold {
		if failed[i] != nil {
			return fmt.Errorf("proxy %s could not be told of the sentinels", proxy.Hostname)
		}
	}
	return nil
}

// tellProxy tells a proxy unless it knows by now: it would drop its connections to the
// sentinels each time.
func tellProxy(ctx context.Context, proxies codis.Proxies, proxy codis.Proxy, sentinels []string) error {
	now, err := codis.ProxyStatus(ctx, proxy.AdminAddr)
	if err != nil || slices.Equal(now.Sentinels.Servers, sentinels) {
		return err
	}
	return proxies.SetSentinels(ctx, proxy, sentinels)
}

// misleading tells whether a sentinel watches a group whose masters the operator replaces.
func (s *state) misleading() bool {
	return slices.ContainsFunc(s.groups, func(g groupView) bool {
		monitor := naming.Monitor(product.Name(s.dashboard), g.id)
		for _, look := range s.sentinels.looks {
			if !g.sentinelLed && look.Flags[monitor] != "" {
				return true
			}
		}
		return false
	})
}

// resyncHeld says why sentinels must not be told anew now, "" if they may.
func (r *Reconciler) resyncHeld(s *state) string {
	if deaf := s.stats.DeafProxies(); len(deaf) > 0 {
		return fmt.Sprintf("proxies do not answer the dashboard: %v", deaf)
	}
	for ordinal := range maxSentinels {
		addr := r.sentinelAddr(s.dashboard)(ordinal)
		if slices.Contains(s.knownSentinels(), addr) && !s.sentinels.looks[ordinal].Answers {
			return "sentinel " + naming.SentinelPod(s.dashboard.Name, ordinal) + " does not answer"
		}
	}
	for _, known := range s.stats.Group.Models {
		if held := s.unsettled(known, r.Domain); held != "" {
			return held
		}
	}
	return ""
}

// unsettled says why a group must not be told to sentinels anew, "" if it may. A group
// that nobody made a CodisGroup for is taken as the dashboard has it.
func (s *state) unsettled(known codis.Group, domain naming.Domain) string {
	at := slices.IndexFunc(s.groups, func(g groupView) bool { return g.id == known.ID })
	if at < 0 || len(known.Servers) == 0 {
		return ""
	}
	g := s.groups[at]
	wanted := domain.MemberAddr(s.dashboard.Namespace, g.name, g.master)
	switch {
	case s.dashboard.Spec.Sentinel != nil && !g.sentinelLed:
		return fmt.Sprintf("group %d is not handed over to them yet", g.id)
	case !g.reachable || g.promoting || known.Promoting.State != "":
		return fmt.Sprintf("group %d has no master that answers, or gets another one", g.id)
	case known.Servers[0].Addr != wanted:
		return fmt.Sprintf("the dashboard does not know the master of group %d yet", g.id)
	}
	for _, look := range s.sentinels.looks {
		flags := look.Flags[naming.Monitor(product.Name(s.dashboard), g.id)]
		if flags != "" && flags != "master" {
			return fmt.Sprintf("sentinels find the master of group %d down, or replace it", g.id)
		}
	}
	return ""
}

// muteFor is how long a sentinel must hang before the dashboard is told to forget it. It
// is told of it anew later, and all sentinels with it: a short stall is not worth that.
const muteFor = 15 * time.Second

// muteSentinels tells which sentinels have hung for so long that the dashboard, which
// waits two seconds for each of them while it holds clients up, is better off without;
// and whether others may be on the way there. They go on to vote. None counts unless the
// dashboard does not hear it either, and as many as it takes answer: it may be the
// operator that is cut off.
func (r *Reconciler) muteSentinels(s *state) (mute func(ordinal int) bool, waiting bool) {
	now, since := r.Clock.Now(), map[int]time.Time{}
	before, _ := r.muted.Load(s.dashboard.UID)
	seen, _ := before.(map[int]time.Time)
	for _, ordinal := range s.hanging(r.sentinelAddr(s.dashboard)) {
		since[ordinal] = now
		if at, ok := seen[ordinal]; ok {
			since[ordinal] = at
		}
	}
	if len(since) == 0 {
		r.muted.Delete(s.dashboard.UID)
	} else {
		r.muted.Store(s.dashboard.UID, since)
	}
	return func(ordinal int) bool {
		at, hangs := since[ordinal]
		return hangs && now.Sub(at) >= muteFor
	}, len(since) > 0
}

// hanging lists the registered sentinels that run and answer neither the operator nor
// the dashboard, while enough others do. It is pure.
func (s *state) hanging(addrOf func(ordinal int) string) []int {
	if s.dashboard.Spec.Sentinel == nil {
		return nil
	}
	var hang []int
	answer := 0
	for ordinal := range sentinelsWanted(s.dashboard) {
		addr := addrOf(ordinal)
		switch {
		case !slices.Contains(s.knownSentinels(), addr):
		case s.sentinels.looks[ordinal].Answers:
			answer++
		case s.sentinelDial(ordinal) != "" && s.stats.Sentinels.Stats[addr].Timeout:
			hang = append(hang, ordinal)
		}
	}
	if answer < config.SentinelsNeeded(s.dashboard.Spec.Sentinel) {
		return nil
	}
	return hang
}
