// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// The simulated API server, and the caches that are behind it.

type simVersion struct {
	at    tick
	group *v1alpha1.CodisGroup
}

func (s *sim) stored() *v1alpha1.CodisGroup { return s.versions[len(s.versions)-1].group }

func (s *sim) store(group *v1alpha1.CodisGroup) {
	group.ResourceVersion = strconv.Itoa(len(s.versions) + 1)
	s.versions = append(s.versions, simVersion{s.now, group})
}

// cached is what a cache that is behind by lag shows.
func (s *sim) cached(lag tick) *v1alpha1.CodisGroup {
	shown := s.versions[s.oldest].group
	for i := len(s.versions) - 1; i > s.oldest; i-- {
		if s.versions[i].at <= s.now-lag {
			shown = s.versions[i].group
			break
		}
	}
	if s.without.forgets() {
		shown = shown.DeepCopy()
		s.without.forget(&shown.Status)
	}
	return shown
}

// annotate is a person who writes an annotation, "" to remove it.
func (s *sim) annotate(name, value string) {
	group := s.stored().DeepCopy()
	if group.Annotations == nil {
		group.Annotations = map[string]string{}
	}
	if group.Annotations[name] = value; value == "" {
		delete(group.Annotations, name)
	}
	s.store(group)
	for _, o := range s.ops {
		o.wake(s.between(1, 15))
	}
}

// newSimGroup is a group whose status the operator has not written yet.
func newSimGroup(count int, persistent bool, protection v1alpha1.Protection) *v1alpha1.CodisGroup {
	replicas := int32(count)
	group := &v1alpha1.CodisGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g", UID: "u"},
		// Without a condition it would be written whole, as the first status is.
		Status: v1alpha1.CodisGroupStatus{Slots: 1, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}}},
		Spec:   v1alpha1.CodisGroupSpec{ID: 1, CodisGroupTemplate: v1alpha1.CodisGroupTemplate{Replicas: &replicas}},
	}
	group.Spec.Failover = &v1alpha1.Failover{SplitBrainProtection: protection}
	if persistent {
		group.Spec.Storage = &v1alpha1.Storage{}
	}
	return group
}

var (
	errSimNotFound = apierrors.NewNotFound(schema.GroupResource{}, "g")
	errSimConflict = apierrors.NewConflict(schema.GroupResource{}, "g", nil)
)

// give copies a pod into what a client asked for.
func give(pod *corev1.Pod, into client.Object) error {
	if into, is := into.(*corev1.Pod); is && pod != nil {
		*into = *pod
		return nil
	}
	return errSimNotFound
}

// simReader asks the API server past the cache.
type simReader struct {
	client.Reader

	o *simLife
}

func (r simReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	if group, ok := obj.(*v1alpha1.CodisGroup); ok {
		return r.getGroup(ctx, group)
	}
	p, i, pod := r.o.current, memberNamed(key.Name), (*corev1.Pod)(nil)
	err := p.call(ctx, "get", i, func(c *simCall) {
		c.after(p.s.between(1, 3), func() {
			pod = p.s.srv[i].pod.object(p.s)
			c.reply(nil)
		})
	})
	if err != nil {
		return err
	}
	return give(pod, obj)
}

func (r simReader) getGroup(ctx context.Context, into *v1alpha1.CodisGroup) error {
	p := r.o.current
	return p.call(ctx, "get", -1, func(c *simCall) {
		c.after(p.s.between(1, 3), func() {
			p.s.stored().DeepCopyInto(into)
			c.reply(nil)
		})
	})
}

// memberNamed returns the member of a pod, -1 for none.
func memberNamed(pod string) int {
	for i, name := range simNames {
		if name == pod {
			return i
		}
	}
	return -1
}

// simClient is the API server for what an operator writes, and its cache.
type simClient struct {
	client.Client

	o *simLife
}

func (c simClient) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	if i := memberNamed(key.Name); i >= 0 {
		return give(c.o.sim.viewOf(i, c.o.podLag), obj)
	}
	return errSimNotFound
}

// List shows the pods of proxies.
func (c simClient) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	pods := list.(*corev1.PodList)
	for i := range c.o.sim.proxy {
		pod := corev1.Pod{}
		pod.Name, pod.Status.PodIP = simProxyNames[i], simProxyIPs[i]
		pods.Items = append(pods.Items, pod)
	}
	return nil
}

// Delete takes the pod of a master that is fenced.
func (c simClient) Delete(ctx context.Context, obj client.Object, options ...client.DeleteOption) error {
	p, i, given := c.o.current, memberNamed(obj.GetName()), (&client.DeleteOptions{}).ApplyOptions(options)
	return p.call(ctx, "fence", i, func(call *simCall) {
		p.s.after(p.s.between(2, 20), func() {
			pod := &p.s.srv[i].pod
			switch {
			case !pod.exists:
				call.answer(errSimNotFound)
			case simUIDs[pod.uid] != string(*given.Preconditions.UID):
				call.answer(errSimConflict)
			default:
				p.s.checkReplaced(p, memberNamed(p.st.decision.heir.name))
				p.s.checkCoolDown(p)
				p.s.stats.fences++
				p.s.fencedAt = p.s.hit(memberNamed(p.st.decision.heir.name))
				p.s.deletePod(i, tick(*given.GracePeriodSeconds)*1000)
				call.answer(nil)
			}
		})
	})
}

// Patch takes annotations.
func (c simClient) Patch(ctx context.Context, obj client.Object, _ client.Patch, _ ...client.PatchOption) error {
	p := c.o.current
	return p.call(ctx, "annotate", -1, func(call *simCall) {
		p.s.after(p.s.between(2, 20), func() {
			for name := range p.s.stored().Annotations {
				if _, left := obj.GetAnnotations()[name]; !left {
					p.s.annotate(name, "")
				}
			}
			call.answer(nil)
		})
	})
}

func (c simClient) Status() client.SubResourceWriter { return simStatusWriter{o: c.o} }

type simStatusWriter struct {
	client.SubResourceWriter

	o *simLife
}

// Patch takes a status, and fails where the object changed since it was read,
// if the patch asks for that.
func (w simStatusWriter) Patch(ctx context.Context, obj client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	p, s, group := w.o.current, w.o.sim, obj.(*v1alpha1.CodisGroup)
	before := p.st.before
	return p.call(ctx, "status", -1, func(call *simCall) {
		s.after(s.between(2, 15), func() {
			if group.ResourceVersion != s.stored().ResourceVersion {
				data, err := patch.Data(obj)
				if err != nil || strings.Contains(string(data), "resourceVersion") {
					call.answer(errSimConflict)
					return
				}
			}
			if now := group.Status.Promotion; now != before.Status.Promotion {
				s.logf("operator %d records %s", w.o.id, intentText(now))
			}
			s.merge(&before.Status, &group.Status)
			s.stored().DeepCopyInto(group)
			call.answer(nil)
		})
	})
}

// merge is what a merge patch from before to after does to the stored status.
func (s *sim) merge(before, after *v1alpha1.CodisGroupStatus) {
	if s.without.intent {
		after.Promotion = before.Promotion
	}
	if s.without.holdRecord {
		after.Requests = before.Requests
	}
	changed := *s.stored()
	merge(reflect.ValueOf(&changed.Status).Elem(), reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
	if !reflect.DeepEqual(&changed.Status, &s.stored().Status) {
		s.store(&changed)
	}
}

// merge takes over those fields that differ, and fields of structs that all three have.
func merge(into, before, after reflect.Value) {
	for i := range into.NumField() {
		x, y, z := into.Field(i), before.Field(i), after.Field(i)
		switch {
		case reflect.DeepEqual(y.Interface(), z.Interface()):
		case x.Type() == reflect.TypeFor[*v1alpha1.Promotion]() && !x.IsNil() && !y.IsNil() && !z.IsNil():
			fields := reflect.New(x.Type().Elem())
			fields.Elem().Set(x.Elem())
			merge(fields.Elem(), y.Elem(), z.Elem())
			x.Set(fields)
		default:
			x.Set(z)
		}
	}
}

func intentText(p *v1alpha1.Promotion) string {
	if p == nil {
		return "no promotion"
	}
	return fmt.Sprintf("%s (%s) instead of %q for %q", p.Member, p.RunID, p.From, p.Cause)
}
