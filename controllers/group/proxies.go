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
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/product"
)

const (
	// askTimeout bounds the question whether a proxy answers. A dashboard would wait
	// for it a minute, and serve nobody else meanwhile.
	askTimeout = 150 * time.Millisecond
	// routeTimeout bounds telling a proxy routes, which waits for the requests that
	// are under way.
	routeTimeout = 3 * time.Second
)

// router is a proxy that may have routes to the group.
type router struct {
	codis.Proxy
	// answers tells that the process that is registered answers.
	answers bool
	// gone tells that it has ended: it sends nothing to anybody.
	gone bool
}

// observeProxies asks every proxy that may have routes to the group: those that
// the dashboard knows or, while it cannot be asked, those that Kubernetes knows.
func (r *Reconciler) observeProxies(ctx context.Context, s *state) error {
	pods := &corev1.PodList{}
	labels := client.MatchingLabels{
		v1alpha1.LabelComponent: naming.ComponentProxy, v1alpha1.LabelDashboard: s.dashboard.Name,
	}
	if err := r.Client.List(ctx, pods, client.InNamespace(s.group.Namespace), labels); err != nil {
		return fmt.Errorf("list proxies: %w", err)
	}
	s.routers = s.registeredRouters(pods.Items)
	var wg sync.WaitGroup
	for i := range s.routers {
		wg.Go(func() { s.routers[i].ask(ctx, s.proxies) })
	}
	wg.Wait()
	s.world.deafProxies = nil
	for _, proxy := range s.routers {
		if !proxy.answers && (!proxy.gone || s.stats != nil) {
			s.world.deafProxies = append(s.world.deafProxies, proxy.Hostname)
		}
	}
	if s.stats == nil && (s.decision.verb == promote || s.handingOver()) {
		s.world.routes = s.seeRoutes(ctx)
	}
	return nil
}

// registeredRouters lists the proxies to ask. One whose pod has ended is gone.
func (s *state) registeredRouters(pods []corev1.Pod) []router {
	var routers []router
	if s.stats != nil {
		for _, entry := range s.stats.Proxy.Models {
			at := slices.IndexFunc(pods, func(pod corev1.Pod) bool { return pod.Name == entry.Hostname })
			routers = append(routers, router{Proxy: entry, gone: at >= 0 && podtemplate.Dead(&pods[at])})
		}
		return routers
	}
	for i := range pods {
		pod := &pods[i]
		if pod.Status.PodIP == "" || podtemplate.Dead(pod) {
			continue
		}
		routers = append(routers, router{Proxy: codis.Proxy{
			Hostname: pod.Name, Product: product.Name(s.dashboard),
			AdminAddr: net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(naming.PortProxyAdmin)),
		}})
	}
	return routers
}

// ask finds out whether a proxy answers. Its two ports belong to one process: where
// nobody listens at one of them, nobody serves clients either.
func (p *router) ask(ctx context.Context, proxies proxies) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	model, err := proxies.Model(ctx, p.AdminAddr)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		p.gone = true
	case err != nil:
	case model.Product != p.Product || p.Token != "" && model.Token != p.Token:
		p.gone = true // Another process has its address.
	default:
		p.Token, p.answers, p.gone = model.Token, true, false
	}
}

// cutOff tells whether the dashboard can tell the proxies nothing now: it cannot be
// asked, or a proxy does not answer, without which it does nothing.
func (s *state) cutOff() bool {
	return s.stats == nil || slices.ContainsFunc(s.routers, func(p router) bool { return !p.answers })
}

// route tells every proxy that answers that a member is the master, where it has
// another route. A slot that is locked for a move stays locked: the dashboard ends
// the move. It is safe to repeat.
func (r *Reconciler) route(ctx context.Context, s *state, master member) error {
	if err := r.heldUp(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	gid := int(s.group.Spec.ID)
	return s.tellRouters(func(proxy codis.Proxy) error {
		return s.correct(ctx, proxy, func(route codis.Route) (codis.Route, bool) {
			moved := route.FromGroup != 0
			wrong := route.Concerns(gid) && (!route.Leads(gid, master.addr) || !moved && route.Locked)
			route = route.To(gid, master.addr)
			route.Locked = route.Locked && moved
			return route, wrong
		})
	})
}

// tellRouters tells every proxy that answers, side by side.
func (s *state) tellRouters(tell func(proxy codis.Proxy) error) error {
	failed := make([]error, len(s.routers))
	var wg sync.WaitGroup
	for i, proxy := range s.routers {
		if proxy.answers {
			wg.Go(func() { failed[i] = tell(proxy.Proxy) })
		}
	}
	wg.Wait()
	return errors.Join(failed...)
}

// routesSeen is what proxies tell of their routes to the group.
type routesSeen struct {
	// to are the addresses that requests of the group go to now.
	to []string
	// held tells that a proxy holds all requests of the group, or is being told new
	// routes: it answers for nothing else meanwhile.
	held bool
	// silent tells that a proxy cannot be asked.
	silent bool
}

// leadTo tells whether a proxy sends requests to a server.
func (seen routesSeen) leadTo(addr string) bool { return slices.Contains(seen.to, addr) }

// seeRoutes asks the proxies that have not ended for their routes, side by side.
func (s *state) seeRoutes(ctx context.Context) routesSeen {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	all := make([]routesSeen, len(s.routers))
	var wg sync.WaitGroup
	for i, proxy := range s.routers {
		if !proxy.gone {
			wg.Go(func() { all[i] = s.routesOf(ctx, proxy) })
		}
	}
	wg.Wait()
	var seen routesSeen
	for _, one := range all {
		seen.to = append(seen.to, one.to...)
		seen.held, seen.silent = seen.held || one.held, seen.silent || one.silent
	}
	return seen
}

// routesOf asks one proxy. One that is not online yet has no master in its routes.
func (s *state) routesOf(ctx context.Context, proxy router) (seen routesSeen) {
	if !proxy.answers {
		return routesSeen{silent: true}
	}
	routes, err := s.proxies.Routes(ctx, proxy.AdminAddr)
	if err != nil {
		return routesSeen{held: true, silent: true}
	}
	gid := int(s.group.Spec.ID)
	for _, route := range routes {
		seen.held = seen.held || route.Concerns(gid) && route.Locked
		master := route.Master
		if route.Group != gid {
			master = route.From
		}
		if route.Concerns(gid) && !route.Locked && master != "" && !seen.leadTo(master) {
			seen.to = append(seen.to, master)
		}
	}
	seen.held = seen.held && len(seen.to) == 0
	return seen
}

// correct tells one proxy the routes that it has wrong: by what they shall be, and
// whether they are wrong.
func (s *state) correct(
	ctx context.Context, proxy codis.Proxy, correct func(codis.Route) (codis.Route, bool),
) error {
	routes, err := s.proxies.Routes(ctx, proxy.AdminAddr)
	if err != nil {
		return err
	}
	var wrong []codis.Route
	for _, route := range routes {
		if right, isWrong := correct(route); isWrong {
			wrong = append(wrong, right)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return s.proxies.FillSlots(ctx, proxy, wrong)
}

// holdsRequests tells whether a proxy that answers holds requests of the group, other
// than those of a slot that is being moved.
func (s *state) holdsRequests(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	held := func(route codis.Route) bool {
		return route.Locked && route.FromGroup == 0 && route.Concerns(int(s.group.Spec.ID))
	}
	return slices.ContainsFunc(s.routers, func(proxy router) bool {
		if !proxy.answers {
			return false
		}
		routes, err := s.proxies.Routes(ctx, proxy.AdminAddr)
		return err == nil && slices.ContainsFunc(routes, held)
	})
}

// letGoOn unlocks slots that a dashboard has left locked which ended between the lock and
// the next step of a promotion: clients of the old master would wait for as long as the
// candidate is not in sync. Where the dashboard is behind, and for what a switchover of
// the operator locked, that is done as the roles are settled.
func (r *Reconciler) letGoOn(ctx context.Context, s *state) error {
	if err := r.observeProxies(ctx, s); err != nil {
		return err
	}
	if s.world.holding {
		r.releaseRequests(ctx, s)
		return nil
	}
	if s.world.behind || s.handingOver() || !s.holdsRequests(ctx) {
		return nil
	}
	if err := r.heldUp(s); err != nil {
		return err // Another operator may have locked them for a switchover.
	}
	s.try("resync the group", s.api.ResyncGroup(ctx, int(s.group.Spec.ID)))
	return nil
}
