// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// simPod is a pod as the API server knows it, and the views that a cache may
// still show.
type simPod struct {
	podView

	epoch  int
	views  []*corev1.Pod
	viewAt []tick
}

// podView is what the operator reads of a pod.
type podView struct {
	exists, leaving, crashLoop, terminated bool
	uid, ip                                int // 0 for none
	born                                   tick
}

// object is the pod as the API server shows it, nil if there is none.
func (v podView) object(s *sim) *corev1.Pod {
	if !v.exists {
		return nil
	}
	pod := &corev1.Pod{}
	pod.UID, pod.Spec.NodeName = types.UID(simUIDs[v.uid]), "node"
	pod.Status.StartTime = &metav1.Time{Time: s.time(v.born)}
	if v.ip != 0 {
		pod.Status.PodIP = simUIDs[v.ip]
	}
	if v.leaving {
		pod.DeletionTimestamp = pod.Status.StartTime
	}
	status := corev1.ContainerStatus{}
	switch {
	case v.terminated:
		status.State.Terminated = &corev1.ContainerStateTerminated{}
	case v.crashLoop:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{status}
	return pod
}

// podChanged records a version of a pod for caches, and wakes the operators.
func (s *sim) podChanged(i int) {
	pod := &s.srv[i].pod
	pod.views, pod.viewAt = append(pod.views, pod.object(s)), append(pod.viewAt, s.now)
	for _, o := range s.ops {
		o.wake(s.between(1, 15))
	}
}

// viewOf is what a cache that is behind by lag shows, nil for no pod.
func (s *sim) viewOf(i int, lag tick) *corev1.Pod {
	pod := &s.srv[i].pod
	for k := len(pod.views) - 1; k > 0; k-- {
		if pod.viewAt[k] <= s.now-lag {
			return pod.views[k]
		}
	}
	return pod.views[0]
}

func (s *sim) kubeletWorks(i int) bool { return s.nodeCut[s.nodeOf[hostMember+i]] == 0 }

// podLater does something of kubelet with a pod, as soon as its node is there.
func (s *sim) podLater(i int, d tick, do func()) {
	pod := &s.srv[i].pod
	epoch := pod.epoch
	s.after(d, func() {
		switch {
		case pod.epoch != epoch:
		case !s.kubeletWorks(i):
			s.podLater(i, 100, do)
		default:
			do()
		}
	})
}

// podProcessEnded is called when the process of a pod has ended.
func (s *sim) podProcessEnded(i int) {
	pod := &s.srv[i].pod
	pod.epoch++
	if pod.leaving {
		s.podLater(i, s.between(5, 80), func() {
			pod.terminated = true
			s.podChanged(i)
			s.podGoes(i)
		})
		return
	}
	backOff := s.between(200, 1000)
	switch s.rng.IntN(6) {
	case 0:
		backOff = s.between(5000, 10000)
		s.podLater(i, s.between(20, 200), func() {
			pod.crashLoop = true
			s.podChanged(i)
		})
	case 1:
		backOff = s.between(1000, 3000)
	}
	s.podLater(i, backOff, func() {
		s.start(i)
		s.podChanged(i)
	})
}

// podGoes removes the object of a pod whose process has ended; a new one follows.
func (s *sim) podGoes(i int) {
	pod := &s.srv[i].pod
	s.podLater(i, s.between(20, 400), func() {
		pod.podView = podView{}
		s.podChanged(i)
		pod.epoch++
		s.podLater(i, s.between(10, 300), func() {
			s.uids++
			pod.podView = podView{exists: true, uid: s.uids, born: s.now}
			s.podChanged(i)
			s.podLater(i, s.between(200, 1200), func() {
				pod.ip = pod.uid
				s.start(i)
				s.podChanged(i)
			})
		})
	})
}

// deletePod is what the API server does when somebody deletes a pod.
func (s *sim) deletePod(i int, grace tick) {
	m := &s.srv[i]
	pod := &m.pod
	if !pod.exists || pod.leaving {
		return
	}
	s.logf("pod g-%d is deleted", i)
	pod.leaving = true
	pod.epoch++
	s.podChanged(i)
	s.podLater(i, s.between(2, 50), func() { s.terminate(i, grace) })
}

// terminate is what kubelet does with a pod that is being deleted.
func (s *sim) terminate(i int, grace tick) {
	m := &s.srv[i]
	switch m.proc {
	case procUp:
		grace = s.between(5, 100)
	case procDown:
		m.pod.terminated = true
		s.podGoes(i)
		return
	}
	s.podLater(i, grace, func() {
		if m.proc == procDown {
			s.podProcessEnded(i)
			return
		}
		s.end(i, false, false)
	})
}
