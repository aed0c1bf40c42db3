// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package conditions sets conditions, writes the status of an object at most
// once a pass, and tells of condition changes by events. It refuses to decide
// what is true.
package conditions

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// maxMessage is the longest message that the API server takes.
const maxMessage = 32768

// Condition is a condition as a reconciler words it.
type Condition struct {
	Type    string
	Status  metav1.ConditionStatus
	Reason  string
	Message string
}

// True words a condition that holds.
func True(conditionType, reason, message string) Condition {
	return Condition{conditionType, metav1.ConditionTrue, reason, message}
}

// False words a condition that does not hold.
func False(conditionType, reason, message string) Condition {
	return Condition{conditionType, metav1.ConditionFalse, reason, message}
}

// Unknown words a condition that nobody could look at.
func Unknown(conditionType, reason, message string) Condition {
	return Condition{conditionType, metav1.ConditionUnknown, reason, message}
}

// Set stores conditions for a generation.
func Set(list *[]metav1.Condition, generation int64, conditions ...Condition) {
	for _, c := range conditions {
		meta.SetStatusCondition(list, metav1.Condition{
			Type:               c.Type,
			Status:             c.Status,
			Reason:             c.Reason,
			Message:            c.Message[:min(len(c.Message), maxMessage)],
			ObservedGeneration: generation,
		})
	}
}

// Summarize returns a condition that holds when all given ones do, and else
// speaks with the words of the first that does not.
func Summarize(conditionType, message string, of ...Condition) Condition {
	for _, c := range of {
		if c.Status != metav1.ConditionTrue {
			return Condition{conditionType, metav1.ConditionFalse, c.Reason, c.Message}
		}
	}
	return True(conditionType, "Ready", message)
}

// IsTrue tells whether a condition holds for the given generation.
func IsTrue(list []metav1.Condition, conditionType string, generation int64) bool {
	c := meta.FindStatusCondition(list, conditionType)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == generation
}

// Object is a custom resource with conditions.
type Object interface {
	client.Object
	runtime.Object
}

// Patch writes the status if it changed, and then tells by events what a person
// wants to know of it: events follow the write, so that a conflict does not
// repeat them.
func Patch(ctx context.Context, c client.Client, recorder events.EventRecorder,
	before, after Object, old, now []metav1.Condition,
) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	err := write(ctx, c, before, after, len(old) == 0)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	for _, condition := range now {
		announce(recorder, after, meta.FindStatusCondition(old, condition.Type), condition)
	}
	return nil
}

// write patches the status, unless it changed since it was read, or since this
// pass wrote it: a pass over an old copy must neither undo what a newer one found
// nor tell it again. The first status is written whole: a patch leaves out what
// is zero, and columns would stay blank.
func write(ctx context.Context, c client.Client, before, after Object, first bool) error {
	if first {
		return c.Status().Update(ctx, after)
	}
	base, ok := before.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object of the API", before)
	}
	base.SetResourceVersion(after.GetResourceVersion())
	return c.Status().Patch(ctx, after, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// announce tells of a headline that came true and of whatever stopped being
// true. What is not true yet on the way up is progress, and the conditions show it.
func announce(recorder events.EventRecorder, object runtime.Object, old *metav1.Condition, now metav1.Condition) {
	was := old != nil && old.Status == metav1.ConditionTrue
	is := now.Status == metav1.ConditionTrue
	kind := corev1.EventTypeWarning
	switch now.Reason {
	case v1alpha1.ReasonRebalancing, v1alpha1.ReasonVolumeGrowing, v1alpha1.ReasonRemovingTopology:
		kind = corev1.EventTypeNormal // What was asked for.
	}
	headline := now.Type == v1alpha1.ConditionReady || now.Type == v1alpha1.ConditionAvailable
	switch {
	case was && !is:
		recorder.Eventf(object, nil, kind, now.Reason, now.Type,
			"%s is %s: %s", now.Type, now.Status, now.Message)
	case is && !was && headline:
		recorder.Eventf(object, nil, corev1.EventTypeNormal, now.Reason, now.Type, "%s: %s", now.Type, now.Message)
	}
}

// Paused words what a paused object says of itself.
func Paused() Condition {
	return False(v1alpha1.ConditionReady, v1alpha1.ReasonPaused,
		"the operator leaves this object alone until the annotation "+v1alpha1.AnnotationPaused+" is removed")
}
