// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package podtemplate

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Outdated tells whether a pod runs another template than its StatefulSet wants.
func Outdated(pod *corev1.Pod, live *appsv1.StatefulSet) bool {
	return pod.Labels[appsv1.ControllerRevisionHashLabelKey] != live.Status.UpdateRevision
}

// Ready tells whether a pod is ready and not being deleted.
func Ready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && HasCondition(pod, corev1.PodReady)
}

// Started tells whether the main container has ever run.
func Started(pod *corev1.Pod) bool {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil || status.State.Terminated != nil || status.LastTerminationState.Terminated != nil {
			return true
		}
	}
	return false
}

// Refusal is what an init container said last, if it keeps the pod from starting; empty
// if it does not.
func Refusal(pod *corev1.Pod, container string) string {
	if Started(pod) {
		return ""
	}
	return LastRefusal(pod, container)
}

// LastRefusal is what an init container said when it failed last, also after it let the
// pod start.
func LastRefusal(pod *corev1.Pod, container string) string {
	for _, status := range pod.Status.InitContainerStatuses {
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if status.Name == container && state.Terminated != nil && state.Terminated.ExitCode != 0 {
				return state.Terminated.Message
			}
		}
	}
	return ""
}

// Parting is what the main container said last, if it has ended and does not run; empty
// if it runs.
func Parting(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if len(pod.Spec.Containers) == 0 || status.Name != pod.Spec.Containers[0].Name || status.State.Running != nil {
			continue
		}
		return lastWords(status)
	}
	return ""
}

// LastParting is what the main container said when it ended last, also if it runs again.
func LastParting(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if len(pod.Spec.Containers) > 0 && status.Name == pod.Spec.Containers[0].Name {
			return lastWords(status)
		}
	}
	return ""
}

func lastWords(status corev1.ContainerStatus) string {
	for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
		if state.Terminated != nil {
			return state.Terminated.Message
		}
	}
	return ""
}

// Ended tells whether every container of a pod has ended for good: its address
// may belong to another pod.
func Ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// Dead tells whether kubelet says that the main container of the pod does not
// run, nor will before a back-off ends. Containers that a user added say nothing
// about it.
func Dead(pod *corev1.Pod) bool {
	if Ended(pod) {
		return true
	}
	for _, status := range pod.Status.ContainerStatuses {
		if len(pod.Spec.Containers) > 0 && status.Name != pod.Spec.Containers[0].Name {
			continue
		}
		waiting := status.State.Waiting != nil && status.State.Waiting.Reason == "CrashLoopBackOff"
		ended := status.State.Terminated != nil && pod.DeletionTimestamp != nil
		if waiting || ended {
			return true
		}
	}
	return false
}

// Trouble says what keeps a pod from starting, in words for its owner, with the
// reason for a condition; both are empty where nothing is wrong.
func Trouble(pod *corev1.Pod) (reason, message string) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return v1alpha1.ReasonUnschedulable, fmt.Sprintf("no node takes pod %s: %s", pod.Name, c.Message)
		}
	}
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, status := range statuses {
		if status.State.Waiting == nil {
			continue
		}
		switch status.State.Waiting.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
			return v1alpha1.ReasonImageNotFound, fmt.Sprintf(
				"pod %s cannot get image %s: correct spec.image, or load the image", pod.Name, status.Image)
		case "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return v1alpha1.ReasonPodsNotReady, fmt.Sprintf(
				"container %s of pod %s does not run (%s): see kubectl logs %s -c %s --previous",
				status.Name, pod.Name, status.State.Waiting.Reason, pod.Name, status.Name)
		}
	}
	return "", ""
}

// HasCondition tells whether a condition of a pod is true.
func HasCondition(pod *corev1.Pod, conditionType corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == conditionType {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
