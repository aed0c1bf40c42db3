// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/controllers/cluster"
	"github.com/codis-io/codis-operator/controllers/coordinator"
	"github.com/codis-io/codis-operator/controllers/dashboard"
	"github.com/codis-io/codis-operator/controllers/group"
	"github.com/codis-io/codis-operator/controllers/proxy"
	"github.com/codis-io/codis-operator/internal/fixture"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
)

const (
	namespace = "default"
	// rounds that a world may take to come to rest.
	maxRounds = 120
)

// world is a Kubernetes cluster with Codis, and the operator.
type world struct {
	t        *testing.T
	api      *fixture.API
	cluster  *fixture.Cluster
	user     *fixture.Client // What a person does; not counted.
	clock    *clocktesting.FakeClock
	recorder *recorder
	// random decides the order of reconciliations; nil is the order of names.
	random *rand.Rand
	// late is how many versions late the operator reads at most; a cache that is
	// told of nothing new for a while has caught up.
	late, lateNow int
	// repeat is how often each object is reconciled in a round; 0 means once.
	repeat int
	// quiet is how many rounds nothing must move for the world to be at rest; 0
	// means one.
	quiet int
	// halfPromoted tells that the dashboard itself was left with two masters.
	halfPromoted bool
	// unreliable makes one in eight calls of the operator go wrong; nil for none.
	unreliable *rand.Rand
	// observe is called after every call of the operator and every step.
	observe func()

	gate        *fixture.Gate
	reconcilers []kind
	timeout     time.Duration

	mu      sync.Mutex
	calls   []fixture.Call // All but reads of objects.
	changed int            // How many of them change anything, and how many do not.
	looks   int
	blind   bool // A look failed in this round.
	trouble trouble
	dead    bool
	crashed string
	faults  []string
}

// kind is a reconciler with the list of its objects.
type kind struct {
	reconciler reconcile.Reconciler
	list       client.ObjectList
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// sharedScheme is read only once it is made.
var sharedScheme = sync.OnceValue(scheme)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), timeout: 20 * time.Second}
	w.recorder = &recorder{}
	w.api = fixture.NewAPI(sharedScheme(), w.clock.Now)
	w.gate = &fixture.Gate{Decide: w.decide}
	w.user = w.api.Client(nil, nil)
	w.cluster = fixture.NewCluster(w.api.Client(nil, nil), w.gate)
	w.cluster.Redis.OnMaster = w.checkMasters
	t.Cleanup(w.cluster.Close)
	w.startOperator()
	return w
}

// startOperator makes all reconcilers from nothing.
func (w *world) startOperator() {
	var lag func() int
	if w.late > 0 {
		lag = func() int { return w.random.IntN(w.lateNow + 1) }
	}
	c := w.api.Client(w.gate, lag)
	reader := w.api.Client(w.gate, nil)
	images := podtemplate.Images{Codis: "codis:test", ConfigWriter: "operator:test"}
	domain := naming.Domain("cluster.local")
	w.reconcilers = []kind{
		{&cluster.Reconciler{Client: c, Reader: reader, Recorder: w.recorder}, &v1alpha1.CodisClusterList{}},
		{&coordinator.Reconciler{Client: c, Recorder: w.recorder}, &v1alpha1.CodisCoordinatorList{}},
		{
			&dashboard.Reconciler{
				Client: c, Reader: reader, Recorder: w.recorder, Clock: w.clock, Images: images, Domain: domain,
			},
			&v1alpha1.CodisDashboardList{},
		},
		{&group.Reconciler{
			Client: c, Reader: reader, Recorder: w.recorder, Clock: w.clock, Images: images, Domain: domain,
			ProbeTimeout: w.timeout,
		}, &v1alpha1.CodisGroupList{}},
		{&proxy.Reconciler{
			Client: c, Reader: reader, Recorder: w.recorder, Clock: w.clock, Images: images, Domain: domain,
			ProbeTimeout: w.timeout,
		}, &v1alpha1.CodisProxyList{}},
	}
	w.mu.Lock()
	w.dead = false
	w.mu.Unlock()
}

// decide counts the calls of the operator and lets it die at one of them.
func (w *world) decide(c fixture.Call) fixture.Outcome {
	if c.Verb == "PUT" && strings.HasPrefix(c.What, "/api/topom/slots/assign") {
		w.checkAssign(c.Body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return fixture.Fail
	}
	if c.Target == fixture.ToRead {
		return fixture.Pass
	}
	w.calls = append(w.calls, c)
	if w.unreliable != nil && w.unreliable.IntN(8) == 0 {
		outcome := []fixture.Outcome{fixture.Fail, fixture.PassAndFail}[w.unreliable.IntN(2)]
		w.dead = outcome == fixture.PassAndFail && c.Changes()
		return outcome
	}
	if !c.Changes() {
		w.looks++
		if tr := w.trouble; w.looks <= tr.first && w.looks%tr.every == tr.look%tr.every {
			w.crashed, w.blind = c.String(), true
			return fixture.Fail
		}
		return fixture.Pass
	}
	if w.changed++; w.changed != w.trouble.at {
		return fixture.Pass
	}
	// Nothing happened: the operator goes on. Something did: it dies before it
	// hears of it.
	w.crashed, w.dead = c.String(), w.trouble.outcome == fixture.PassAndFail
	return w.trouble.outcome
}

// round reconciles every object, once or more, lets the cluster go on, and
// tells whether anything moved.
func (w *world) round() bool {
	w.t.Helper()
	before, calls := w.api.Version(), w.changes()
	var work []func()
	for _, k := range w.reconcilers {
		if err := w.user.List(w.t.Context(), k.list); err != nil {
			w.t.Fatal(err)
		}
		for _, name := range names(k.list) {
			for range max(1, w.repeat) {
				work = append(work, func() { w.reconcile(k.reconciler, name) })
			}
		}
	}
	if w.random != nil {
		w.random.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] })
	}
	for _, do := range work {
		do()
		if w.isDead() {
			break // The process is gone, with everything that it was about to do.
		}
	}
	moved := w.step()
	if w.isDead() {
		w.startOperator()
		return true
	}
	moved = moved || w.api.Version() != before || w.changes() != calls || w.wasBlind()
	if w.lateNow /= 2; moved {
		w.lateNow = w.late
	}
	return moved
}

func (w *world) step() bool {
	w.t.Helper()
	moved, err := w.cluster.Step(w.t.Context())
	if err != nil {
		w.t.Fatalf("cluster: %v", err)
	}
	w.look()
	w.clock.Step(time.Second)
	return moved
}

func (w *world) look() {
	if w.observe != nil {
		w.observe()
	}
}

// reconcile runs one reconciliation. What it returns only matters to a queue.
func (w *world) reconcile(r reconcile.Reconciler, name client.ObjectKey) {
	w.t.Helper()
	_, err := r.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: name})
	if err != nil && os.Getenv("WORLD_DEBUG") != "" {
		w.t.Logf("%T %s: %v", r, name, err)
	}
	w.look()
}

func (w *world) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// changes counts the calls so far that change something.
func (w *world) changes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// wasBlind tells whether a look failed since it was asked last.
func (w *world) wasBlind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.blind
	w.blind = false
	return was
}

// rest runs rounds until nothing moves any more.
func (w *world) rest() {
	w.t.Helper()
	quiet := 0
	for range maxRounds {
		quiet++
		if w.round() {
			quiet = 0
		}
		w.report()
		if quiet == max(1, w.quiet) {
			return
		}
	}
	w.t.Fatalf("the world does not come to rest in %d rounds\n%s", maxRounds, w.dump())
}

// rounds runs a number of rounds.
func (w *world) rounds(n int) {
	w.t.Helper()
	for range n {
		w.round()
		w.report()
	}
}

// fault notes a broken invariant; it may be called from anywhere.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// report fails the test if an invariant was broken.
func (w *world) report() {
	w.t.Helper()
	w.mu.Lock()
	faults := w.faults
	w.mu.Unlock()
	if len(faults) > 0 {
		w.t.Fatalf("invariants are broken:\n%s\ncrashed at: %s\n%s", strings.Join(faults, "\n"), w.crashed, w.dump())
	}
}

// apply creates objects from a file of examples.
func (w *world) apply(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := w.user.Create(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
}

// example reads the objects of a file in examples.
func example(t *testing.T, file string) []client.Object {
	t.Helper()
	text, err := os.ReadFile("../../examples/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []client.Object
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var meta struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
			t.Fatal(err)
		}
		made, err := sharedScheme().New(v1alpha1.GroupVersion.WithKind(meta.Kind))
		if err != nil {
			t.Fatal(err)
		}
		object := made.(client.Object)
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatal(err)
		}
		object.SetNamespace(namespace)
		objects = append(objects, object)
	}
	return objects
}
