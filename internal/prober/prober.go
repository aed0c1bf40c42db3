// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package prober keeps one connection to every codis-server, asks it several
// times a second how it is, and tells which groups changed. It runs on every
// replica of the operator. It decides nothing: that nobody listens, that nobody
// answers, and that a replica hears nothing from its master are told apart, and
// what follows from them is for others to say.
package prober

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/redis"
)

// Defaults of Settings.
const (
	DefaultInterval = 250 * time.Millisecond
	DefaultTimeout  = 500 * time.Millisecond
)

// State is what is known of the process behind an address.
type State string

// States.
const (
	// Unknown means that the server was not asked yet, or wants another password.
	Unknown State = "Unknown"
	// Up means that the server answers.
	Up State = "Up"
	// Dead means that nobody listens: the connection was refused or broke, and an
	// immediate new one was refused as well.
	Dead State = "Dead"
	// Silent means that no answer came in time, or none that makes sense. It
	// claims nothing about the process.
	Silent State = "Silent"
)

// Target is one codis-server to probe.
type Target struct {
	// Name of the pod.
	Name string
	// UID of the pod.
	UID types.UID
	// Addr is ip:port.
	Addr string
}

// Settings of a group's probes.
type Settings struct {
	// Password that the servers require, empty for none.
	Password string
	// Interval between questions to a server. Default: DefaultInterval.
	Interval time.Duration
	// Timeout bounds each dial and each question. Default: DefaultTimeout.
	Timeout time.Duration
}

func (s Settings) withDefaults() Settings {
	if s.Interval <= 0 {
		s.Interval = DefaultInterval
	}
	if s.Timeout <= 0 {
		s.Timeout = DefaultTimeout
	}
	return s
}

// Result is what is known of a target.
type Result struct {
	// UID and Addr are those of the target that was asked.
	UID  types.UID
	Addr string

	State State
	// Since is when State began. For Silent, it is when the first of the questions
	// was sent that have not been answered since, or when its dial began; time
	// in which this process itself was held up is not counted.
	Since time.Time

	// Seen is from the last answer, whatever State is by now. It is the zero value
	// before the first one, and holds neither keys nor memory.
	Seen redis.Observation
	// Answered is when Seen was told.
	Answered time.Time
	// Latency is how long answers take, as a mean in which the last eight count
	// most; questions without an answer do not count. Zero before the first.
	Latency time.Duration
	// Moved is when the offset of a replica in sync last changed, as of Answered,
	// or when it was first seen in sync. A master pings its replicas down the
	// stream every few seconds, so an offset that stands still while the replica
	// answers is a witness that it hears nothing from its master: it has stood
	// still for Answered minus Moved. Zero for all others.
	Moved time.Time
}

// Prober probes the codis-servers of groups.
type Prober struct {
	clock   clock.WithTicker
	changes chan event.GenericEvent
	// wake holds a mark while there is something to launch or to tell.
	wake chan struct{}

	mu     sync.Mutex
	groups map[types.NamespacedName]map[string]*probe // by name of the pod
	// waiting are probes to launch, in the order in which they were set.
	waiting []*probe
	dirty   map[types.NamespacedName]bool
}

// New returns a prober that does nothing until it is started.
func New(with clock.WithTicker) *Prober {
	return &Prober{
		clock:   with,
		changes: make(chan event.GenericEvent),
		wake:    make(chan struct{}, 1),
		groups:  map[types.NamespacedName]map[string]*probe{},
		dirty:   map[types.NamespacedName]bool{},
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (p *Prober) NeedLeaderElection() bool { return false }

// Start probes and tells changes until the context ends; then it closes all
// connections. It implements manager.Runnable and is called once.
func (p *Prober) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		p.launch(ctx, &running)
		group, found := p.takeDirty()
		var changes chan<- event.GenericEvent // Nil, never ready, while there is nothing to tell.
		if found {
			changes = p.changes
		}
		select {
		case <-ctx.Done():
			return nil
		case changes <- change(group):
		case <-p.wake:
			if found {
				p.mark(group)
			}
		}
	}
}

func change(group types.NamespacedName) event.GenericEvent {
	return event.GenericEvent{Object: &v1alpha1.CodisGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: group.Namespace, Name: group.Name},
	}}
}

// Set says what to probe of a group, and is safe to repeat: what stays the same
// keeps its connection and its result, what differs starts anew, and what is
// missing ends. It may be called before Start.
func (p *Prober) Set(group types.NamespacedName, settings Settings, targets []Target) {
	settings = settings.withDefaults()
	p.mu.Lock()
	defer p.mu.Unlock()
	before, now := p.groups[group], make(map[string]*probe, len(targets))
	for _, target := range targets {
		if now[target.Name] != nil {
			continue // Said twice.
		}
		probe := before[target.Name]
		if probe == nil || probe.target != target || probe.settings != settings {
			probe = newProbe(p, group, settings, target, probe)
			p.waiting = append(p.waiting, probe)
		}
		now[target.Name] = probe
	}
	for name, probe := range before {
		if now[name] != probe {
			probe.end()
		}
	}
	if p.groups[group] = now; len(now) == 0 {
		delete(p.groups, group)
		delete(p.dirty, group)
	}
	p.nudge()
}

// Forget ends all probes of a group.
func (p *Prober) Forget(group types.NamespacedName) { p.Set(group, Settings{}, nil) }

// Results returns what is known of a group, by name of the pod. It has an entry
// for each target that was set.
func (p *Prober) Results(group types.NamespacedName) map[string]Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	results := make(map[string]Result, len(p.groups[group]))
	for name, probe := range p.groups[group] {
		results[name] = probe.result
	}
	return results
}

// Changes tells groups of which anything but offsets changed; each is an object
// with nothing but namespace and name. A group that changes several times before
// somebody reads is told once.
func (p *Prober) Changes() <-chan event.GenericEvent { return p.changes }

// launch starts the probes that were set. One that was ended meanwhile runs as
// well, to no effect: another may wait for its end.
func (p *Prober) launch(ctx context.Context, running *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, probe := range p.waiting {
		ctx, cancel := context.WithCancel(ctx)
		probe.cancel = cancel
		if probe.ended {
			cancel()
		}
		running.Go(func() {
			defer cancel()
			probe.run(ctx)
		})
	}
	p.waiting = nil
}

// takeDirty returns a group that changed, which is then no longer marked.
func (p *Prober) takeDirty() (types.NamespacedName, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for group := range p.dirty {
		delete(p.dirty, group)
		return group, true
	}
	return types.NamespacedName{}, false
}

// mark gives back a group that was not told, unless it was forgotten.
func (p *Prober) mark(group types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups[group] != nil {
		p.dirty[group] = true
	}
}

// nudge never blocks: one mark is enough for any number of reasons.
func (p *Prober) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
