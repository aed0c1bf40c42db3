// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

// proxyView is a proxy pod, and what the proxy in it said about itself.
type proxyView struct {
	pod *corev1.Pod
	// model and status are nil while the proxy does not answer.
	model  *codis.Proxy
	status *codis.ProxyState
}

// online tells whether the proxy serves clients.
func (v proxyView) online() bool { return v.status != nil && v.status.Online && !v.status.Closed }

// answers tells whether the proxy can be spoken to.
func (v proxyView) answers() bool { return v.model != nil && v.status != nil }

// plan is what shall be done about the proxies and their entries.
type plan struct {
	// remove are entries of processes that are gone.
	remove []codis.Proxy
	// stop are entries of proxies that shall end and whose clients had their time.
	stop []codis.Proxy
	// online are admin addresses of proxies to bring online.
	online []string
}

// settleTime is how long it may take until no client is sent to a proxy any more.
const settleTime = 3 * time.Second

// mayStop tells whether a proxy whose pod is being deleted has served its clients
// long enough: none is left, or their time is over.
func mayStop(view proxyView, now time.Time) bool {
	pod := view.pod
	if pod.DeletionTimestamp == nil || view.status == nil {
		return false
	}
	began := pod.DeletionTimestamp.Add(-time.Duration(ptr.Deref(pod.DeletionGracePeriodSeconds, 0)) * time.Second)
	if view.status.Sessions.Alive == 0 && !now.Before(began.Add(settleTime)) {
		return true
	}
	return !now.Before(pod.DeletionTimestamp.Add(-stopSeconds * time.Second))
}

// isDead tells whether the process of an entry is known to be gone. The view is
// that of the pod the entry names, empty where the cache has none.
func isDead(entry codis.Proxy, view proxyView, exists func(pod string) bool) bool {
	if view.pod == nil {
		return !exists(entry.Hostname)
	}
	return podtemplate.Dead(view.pod) || view.model != nil && view.model.Token != entry.Token
}

// decide compares the entries of the dashboard with the pods. It is pure.
//
// An entry is removed only when its process is known to be dead: its pod is
// gone, or kubelet says that its container ended, or another process with
// another token answers in its pod. A proxy that merely does not answer keeps
// its entry: removed but alive it would go on serving stale routes. Only
// entries of pods of this CodisProxy are looked at; others are not ours.
//
// A proxy is brought online only once every slot has an owner: one that serves
// before would answer errors, and after the loss of the dashboard's store it
// would forget the routes that it still has.
//
// A proxy that shall end keeps its entry, and with it its routes, as long as
// clients are connected to it and have time.
func decide(
	name string, stats *codis.Stats, proxies []proxyView, exists func(pod string) bool, now time.Time,
) plan {
	byPod := map[string]proxyView{}
	for _, view := range proxies {
		byPod[view.pod.Name] = view
	}
	var p plan
	registered := map[string]bool{}
	for _, entry := range stats.Proxy.Models {
		if !naming.IsProxyPod(name, entry.Hostname) {
			continue
		}
		view, known := byPod[entry.Hostname]
		if isDead(entry, view, exists) {
			p.remove = append(p.remove, entry)
		} else if known {
			registered[entry.Hostname] = true
			if mayStop(view, now) {
				p.stop = append(p.stop, entry)
			}
		}
	}
	if stats.Offline() == 0 {
		p.online = toBringOnline(proxies, registered)
	}
	return p
}

// toBringOnline are proxies that stay and lack an entry or do not serve.
func toBringOnline(proxies []proxyView, registered map[string]bool) []string {
	var addrs []string
	for _, view := range proxies {
		if !view.answers() || view.pod.DeletionTimestamp != nil {
			continue
		}
		if !registered[view.pod.Name] || !view.online() {
			addrs = append(addrs, view.model.AdminAddr)
		}
	}
	return addrs
}
