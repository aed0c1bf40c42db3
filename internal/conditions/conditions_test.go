// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

const ready, available, workload = v1alpha1.ConditionReady, v1alpha1.ConditionAvailable, v1alpha1.ConditionWorkloadReady

func TestSummarize(t *testing.T) {
	good, bad := True(workload, "Fine", "fine"), False(workload, "Broken", "it broke")
	unknown := Unknown(available, "NotObserved", "not seen")
	tests := map[string]struct {
		of   []Condition
		want Condition
	}{
		"all hold":                       {[]Condition{good, good}, True(ready, "Ready", "all is well")},
		"none is asked for":              {nil, True(ready, "Ready", "all is well")},
		"the first that does not speaks": {[]Condition{good, bad, unknown}, False(ready, "Broken", "it broke")},
		"unknown does not hold":          {[]Condition{unknown, bad}, False(ready, "NotObserved", "not seen")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Summarize(ready, "all is well", tt.of...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSet(t *testing.T) {
	var list []metav1.Condition
	Set(&list, 1, False(ready, "A", "a"), True(workload, "B", "b"))
	first := list[0].LastTransitionTime
	list[0].LastTransitionTime = metav1.Time{Time: first.Add(-time.Hour)}
	Set(&list, 2, False(ready, "C", "c"))
	want := []metav1.Condition{
		{Type: ready, Status: metav1.ConditionFalse, Reason: "C", Message: "c", ObservedGeneration: 2},
		{Type: workload, Status: metav1.ConditionTrue, Reason: "B", Message: "b", ObservedGeneration: 1},
	}
	if diff := cmp.Diff(want, list, cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")); diff != "" {
		t.Error(diff)
	}
	if !list[0].LastTransitionTime.Time.Equal(first.Add(-time.Hour)) {
		t.Error("the time of the transition changed without one")
	}
	Set(&list, 2, False(ready, "C", strings.Repeat("x", maxMessage+1)))
	if got := len(list[0].Message); got != maxMessage {
		t.Errorf("the message has %d characters", got)
	}
}

func TestIsTrue(t *testing.T) {
	var list []metav1.Condition
	Set(&list, 2, True(ready, "A", ""), False(workload, "B", ""))
	tests := map[string]struct {
		conditionType string
		generation    int64
		want          bool
	}{
		"holds":                     {ready, 2, true},
		"held for a generation ago": {ready, 3, false},
		"does not hold":             {workload, 2, false},
		"is not there":              {available, 2, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := IsTrue(list, tt.conditionType, tt.generation); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// server is a fake API server with one group; it counts writes of the status.
type server struct {
	client.Client
	recorder *events.FakeRecorder
	writes   int
	// refuse is the error of the next writes.
	refuse error
}

func newServer(t *testing.T, group *v1alpha1.CodisGroup) *server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	s := &server{recorder: events.NewFakeRecorder(16)}
	s.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(group).WithStatusSubresource(group).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				s.writes++
				return errors.Join(s.refuse, c.SubResource(sub).Patch(ctx, o, p, opts...))
			},
			SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
				s.writes++
				return errors.Join(s.refuse, c.SubResource(sub).Update(ctx, o, opts...))
			},
		}).Build()
	return s
}

// events returns what was told so far.
func (s *server) events() []string {
	var told []string
	for {
		select {
		case event := <-s.recorder.Events:
			told = append(told, event)
		default:
			return told
		}
	}
}

func TestPatch(t *testing.T) {
	isReady, isAvailable := True(ready, "Ready", "all is well"), True(available, "Ready", "clients are served")
	broken := False(workload, "PodsNotReady", "a pod is missing")
	tests := map[string]struct {
		old, now []Condition
		// touch changes something else in the status.
		touch  bool
		writes int
		events []string
	}{
		"nothing changed": {old: []Condition{isReady, broken}, now: []Condition{isReady, broken}},
		"the first look that finds it broken is no news": {
			now: []Condition{False(ready, "Progressing", "starting"), broken}, writes: 1,
		},
		"the first look that finds it ready": {
			now: []Condition{isReady}, writes: 1, events: []string{"Normal Ready Ready: all is well"},
		},
		"it became ready and available": {
			old: []Condition{False(ready, "A", ""), Unknown(available, "B", "")}, now: []Condition{isReady, isAvailable},
			writes: 1, events: []string{"Normal Ready Ready: all is well", "Normal Ready Available: clients are served"},
		},
		"a part that came true is no news": {
			old: []Condition{broken}, now: []Condition{True(workload, "Ready", "runs")}, writes: 1,
		},
		"whatever stopped being true is told": {
			old: []Condition{isReady, True(workload, "Ready", "runs")},
			now: []Condition{Unknown(ready, "NotObserved", "nobody looked"), broken}, writes: 1,
			events: []string{
				"Warning NotObserved Ready is Unknown: nobody looked",
				"Warning PodsNotReady WorkloadReady is False: a pod is missing",
			},
		},
		"another reason for the same is written and not told": {
			old: []Condition{broken}, now: []Condition{False(workload, "ImageNotFound", "no image")}, writes: 1,
		},
		"a number that changed is written and not told": {
			old: []Condition{isReady}, now: []Condition{isReady}, touch: true, writes: 1,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g"}}
			Set(&before.Status.Conditions, 1, tt.old...)
			s := newServer(t, before.DeepCopy())
			if err := s.Get(t.Context(), client.ObjectKeyFromObject(before), before); err != nil {
				t.Fatal(err)
			}
			after := before.DeepCopy()
			Set(&after.Status.Conditions, 1, tt.now...)
			if tt.touch {
				after.Status.Keys = 7
			}
			err := Patch(t.Context(), s, s.recorder, before, after, before.Status.Conditions, after.Status.Conditions)
			if err != nil {
				t.Fatal(err)
			}
			if s.writes != tt.writes {
				t.Errorf("wrote %d times, want %d", s.writes, tt.writes)
			}
			if diff := cmp.Diff(tt.events, s.events()); diff != "" {
				t.Error(diff)
			}
			stored := &v1alpha1.CodisGroup{}
			if err := s.Get(t.Context(), client.ObjectKeyFromObject(before), stored); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(after.Status, stored.Status, cmpopts.EquateEmpty(),
				cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStatusThatCannotBeWrittenTellsNothing(t *testing.T) {
	before := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g"}}
	after := before.DeepCopy()
	Set(&after.Status.Conditions, 1, True(ready, "Ready", "all is well"))
	s := newServer(t, before.DeepCopy())
	s.refuse = errors.New("no leader")
	err := Patch(t.Context(), s, s.recorder, before, after, nil, after.Status.Conditions)
	if !errors.Is(err, s.refuse) {
		t.Errorf("got %v", err)
	}
	if told := s.events(); len(told) > 0 {
		t.Errorf("told %v", told)
	}
}

func TestStatusOfWhatIsGoneIsNoError(t *testing.T) {
	before := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "gone"}}
	after := before.DeepCopy()
	Set(&after.Status.Conditions, 1, True(ready, "Ready", "all is well"))
	s := newServer(t, &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g"}})
	if err := Patch(t.Context(), s, s.recorder, before, after, nil, after.Status.Conditions); err != nil {
		t.Error(err)
	}
	if told := s.events(); len(told) > 0 {
		t.Errorf("told %v", told)
	}
}

func TestPausedSaysHowToGoOn(t *testing.T) {
	got := Paused()
	if got.Type != ready || got.Status != metav1.ConditionFalse || !strings.Contains(got.Message, v1alpha1.AnnotationPaused) {
		t.Errorf("%+v", got)
	}
}
