// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/prober"
	"github.com/codis-io/codis-operator/internal/redis"
)

// Defaults of spec.failover.
const (
	defaultProbeInterval = 250 * time.Millisecond
	defaultProbeTimeout  = 500 * time.Millisecond
	// defaultSilence is above the second between two pings of a master to its
	// replicas (config.PingPeriod): a replica of an idle master hears nothing in between.
	defaultSilence = 1500 * time.Millisecond
)

// probing is what a group's spec says of probes, defaults filled in.
type probing struct{ interval, timeout, window time.Duration }

func probingOf(spec *v1alpha1.Failover) probing {
	p := probing{defaultProbeInterval, defaultProbeTimeout, defaultSilence}
	if spec == nil {
		return p
	}
	set := func(into *time.Duration, milliseconds *int32) {
		if milliseconds != nil {
			*into = time.Duration(*milliseconds) * time.Millisecond
		}
	}
	set(&p.interval, spec.ProbeIntervalMilliseconds)
	set(&p.timeout, spec.ProbeTimeoutMilliseconds)
	set(&p.window, spec.SilenceMilliseconds)
	return p
}

// ask asks a member how it is. Who the prober knows to be silent is not waited
// for once more. Who refuses is asked again at once: twice is proof that nobody
// listens.
func (r *Reconciler) ask(ctx context.Context, s *state, m *member, probe prober.Result) {
	if probe.State == prober.Silent {
		m.silent = r.Clock.Since(probe.Since)
		m.redis = redis.Observation{Problem: "no answer in time"}
		return
	}
	asked := r.Clock.Now()
	m.redis = s.servers.Observe(ctx, redisAddr(*m))
	if m.redis.Refused {
		m.redis = s.servers.Observe(ctx, redisAddr(*m))
		// A connection that is refused while another one goes on is a firewall's doing.
		m.dead = m.redis.Refused && probe.State != prober.Up
	}
	if m.redis.Role == redis.RoleReplica && !probe.Moved.IsZero() && probe.Seen.RunID == m.redis.RunID {
		m.deaf = probe.Answered.Sub(probe.Moved)
		if m.redis.Offset == probe.Seen.Offset { // It had not moved when it was asked.
			m.deaf = asked.Sub(probe.Moved)
		}
	}
}

// probe returns what the prober knows of a member, nothing if it asked another
// process or address.
func (r *Reconciler) probe(s *state, m member) prober.Result {
	if r.Prober == nil {
		return prober.Result{}
	}
	result := r.Prober.Results(client.ObjectKeyFromObject(s.group))[m.name]
	if result.UID != m.uid || result.Addr != redisAddr(m) {
		return prober.Result{}
	}
	return result
}

// setTargets tells the prober whom to ask.
func (r *Reconciler) setTargets(s *state) {
	if r.Prober == nil || s.servers == nil {
		return
	}
	p := probingOf(s.group.Spec.Failover)
	settings := prober.Settings{Password: s.password, Interval: p.interval, Timeout: p.timeout}
	var targets []prober.Target
	for _, m := range s.world.members {
		if m.ip != "" {
			targets = append(targets, prober.Target{Name: m.name, UID: m.uid, Addr: redisAddr(m)})
		}
	}
	r.Prober.Set(client.ObjectKeyFromObject(s.group), settings, targets)
}
