// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package podtemplate

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

var (
	running    = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	terminated = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
)

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

// pod has a main container, and a sidecar if it is given a second state.
func pod(states ...corev1.ContainerState) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p-0"}}
	names := []string{"server", "sidecar"}
	for i, state := range states {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: names[i]})
		p.Status.ContainerStatuses = append([]corev1.ContainerStatus{{Name: names[i], State: state, Image: "codis:1"}},
			p.Status.ContainerStatuses...) // In another order than in the spec.
	}
	return p
}

func leaving(p *corev1.Pod) *corev1.Pod {
	p.DeletionTimestamp = &metav1.Time{}
	return p
}

func phase(p *corev1.Pod, phase corev1.PodPhase) *corev1.Pod {
	p.Status.Phase = phase
	return p
}

func TestDead(t *testing.T) {
	tests := map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"runs":                             {pod(running), false},
		"was never seen by kubelet":        {pod(), false},
		"failed":                           {phase(pod(running), corev1.PodFailed), true},
		"succeeded":                        {phase(pod(terminated), corev1.PodSucceeded), true},
		"backs off":                        {pod(waiting("CrashLoopBackOff")), true},
		"ended and is about to restart":    {pod(terminated), false},
		"ended while it is being deleted":  {leaving(pod(terminated)), true},
		"runs while it is being deleted":   {leaving(pod(running)), false},
		"waits for its image":              {pod(waiting("ContainerCreating")), false},
		"runs and its sidecar backs off":   {pod(running, waiting("CrashLoopBackOff")), false},
		"backs off and its sidecar runs":   {pod(waiting("CrashLoopBackOff"), running), true},
		"runs and its sidecar ended, too":  {leaving(pod(running, terminated)), false},
		"ended and its sidecar still runs": {leaving(pod(terminated, running)), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Dead(tt.pod); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	for p, want := range map[corev1.PodPhase]bool{
		corev1.PodFailed: true, corev1.PodSucceeded: true, corev1.PodRunning: false, corev1.PodPending: false, "": false,
	} {
		if got := Ended(phase(pod(terminated), p)); got != want {
			t.Errorf("%q: got %t", p, got)
		}
	}
}

func TestStarted(t *testing.T) {
	restarted := pod(waiting("CrashLoopBackOff"))
	restarted.Status.ContainerStatuses[0].LastTerminationState = terminated
	tests := map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"runs":                      {pod(running), true},
		"ended":                     {pod(terminated), true},
		"ran before":                {restarted, true},
		"never ran":                 {pod(waiting("ImagePullBackOff")), false},
		"was never seen by kubelet": {pod(), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Started(tt.pod); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestParting(t *testing.T) {
	said := func(message string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}
	}
	before := func(state corev1.ContainerState) *corev1.Pod {
		p := pod(state, running)
		for i := range p.Status.ContainerStatuses {
			p.Status.ContainerStatuses[i].LastTerminationState = said(p.Status.ContainerStatuses[i].Name + " before")
		}
		return p
	}
	tests := map[string]struct {
		pod *corev1.Pod
		// want is what it said and does not run, last also if it does.
		want, last string
	}{
		"was never seen by kubelet": {pod(), "", ""},
		"starts":                    {pod(waiting("ContainerCreating")), "", ""},
		"ended":                     {before(said("now")), "now", "now"},
		"backs off":                 {before(waiting("CrashLoopBackOff")), "server before", "server before"},
		"runs again":                {before(running), "", "server before"},
		"ended without a word":      {pod(terminated), "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Parting(tt.pod); got != tt.want {
				t.Errorf("got %q", got)
			}
			if got := LastParting(tt.pod); got != tt.last {
				t.Errorf("it said %q last", got)
			}
		})
	}
}

func TestReady(t *testing.T) {
	ready, unready := pod(running), pod(running)
	ready.Status.Conditions = []corev1.PodCondition{
		{Type: v1alpha1.ConditionOnline, Status: corev1.ConditionFalse}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
	}
	unready.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	tests := map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"ready":                          {ready, true},
		"not ready":                      {unready, false},
		"was never said to be":           {pod(running), false},
		"ready, but it is being deleted": {leaving(ready.DeepCopy()), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Ready(tt.pod); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestOutdated(t *testing.T) {
	live := &appsv1.StatefulSet{Status: appsv1.StatefulSetStatus{UpdateRevision: "new"}}
	p := pod(running)
	if !Outdated(p, live) {
		t.Error("a pod without revision is of this one")
	}
	p.Labels = map[string]string{appsv1.ControllerRevisionHashLabelKey: "new"}
	if Outdated(p, live) {
		t.Error("a pod of this revision is outdated")
	}
}

func TestTroubleSaysWhatToDo(t *testing.T) {
	unschedulable := pod()
	unschedulable.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available",
	}}
	noWriter := pod(waiting("PodInitializing"))
	noWriter.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "config", Image: "operator:1", State: waiting("ErrImagePull")}}
	tests := map[string]struct {
		pod             *corev1.Pod
		reason, message string
	}{
		"runs":                       {pod(running), "", ""},
		"is being made":              {pod(waiting("ContainerCreating")), "", ""},
		"no node takes it":           {unschedulable, v1alpha1.ReasonUnschedulable, "no node takes pod p-0: 0/3 nodes are available"},
		"has no image":               {pod(waiting("ImagePullBackOff")), v1alpha1.ReasonImageNotFound, "image codis:1: correct spec.image"},
		"has no image to start with": {noWriter, v1alpha1.ReasonImageNotFound, "image operator:1"},
		"crashes":                    {pod(waiting("CrashLoopBackOff")), v1alpha1.ReasonPodsNotReady, "kubectl logs p-0 -c server --previous"},
		"its sidecar crashes":        {pod(running, waiting("CrashLoopBackOff")), v1alpha1.ReasonPodsNotReady, "-c sidecar"},
		"cannot be made":             {pod(waiting("CreateContainerConfigError")), v1alpha1.ReasonPodsNotReady, "CreateContainerConfigError"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reason, message := Trouble(tt.pod)
			if reason != tt.reason || !strings.Contains(message, tt.message) || (message == "") != (tt.message == "") {
				t.Errorf("got %s: %s", reason, message)
			}
		})
	}
}
