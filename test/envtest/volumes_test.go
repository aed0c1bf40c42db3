// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// storedCluster is a cluster of one group of two on volumes of 1Gi.
const storedCluster = `
apiVersion: codis.io/v1alpha1
kind: CodisCluster
metadata: {name: c}
spec:
  groups: {count: 1, replicas: 2, storage: {size: 1Gi, storageClassName: %s}}
  proxy: {replicas: 1}
`

// volumes is a namespace with a cluster whose volumes have a StorageClass of their own.
type volumes struct {
	t         *testing.T
	namespace string
}

func newVolumes(t *testing.T, grow bool) volumes {
	t.Helper()
	v := volumes{t, newNamespace(t)}
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: v.namespace},
		Provisioner: "test.codis.io/none", AllowVolumeExpansion: &grow,
	}
	if err := user.Create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := user.Delete(t.Context(), class); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	create(t, parse(t, v.namespace, fmt.Sprintf(storedCluster, v.namespace))...)
	v.clusterSays("Ready", "True Ready: ")
	return v
}

func (v volumes) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: v.namespace, Name: name}
}

func (v volumes) state() string { return describe(v.t, v.namespace) }

func said(list []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(list, kind)
	if c == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// clusterSays waits for a condition of the cluster that starts so and has these words.
func (v volumes) clusterSays(kind, starts string, words ...string) {
	v.t.Helper()
	c := &v1alpha1.CodisCluster{}
	v.says(starts, words, func() (string, error) {
		err := user.Get(v.t.Context(), v.key("c"), c)
		return said(c.Status.Conditions, kind), err
	})
}

// groupSays waits for what the group says of its volumes.
func (v volumes) groupSays(starts string, words ...string) {
	v.t.Helper()
	g := &v1alpha1.CodisGroup{}
	v.says(starts, words, func() (string, error) {
		err := user.Get(v.t.Context(), v.key("c-1"), g)
		return said(g.Status.Conditions, v1alpha1.ConditionVolumesReady), err
	})
}

func (v volumes) says(starts string, words []string, look func() (string, error)) {
	v.t.Helper()
	var last string
	eventually(v.t, "it does not say "+starts, func() bool {
		text, err := look()
		last = text
		return err == nil && strings.HasPrefix(text, starts) &&
			!slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	}, func() string { return fmt.Sprintf("it says %q\n%s", last, v.state()) })
}

// resize changes the size as a person does, and returns what the API server warned of.
func (v volumes) resize(kind, name, path, size string) (warned []string, err error) {
	v.t.Helper()
	w := &warnings{}
	with := rest.CopyConfig(config)
	with.WarningHandlerWithContext = nil
	with.WarningHandler = w
	c, err := client.New(with, client.Options{Scheme: user.Scheme()})
	if err != nil {
		v.t.Fatal(err)
	}
	object := parse(v.t, v.namespace, fmt.Sprintf("apiVersion: codis.io/v1alpha1\nkind: %s\nmetadata: {name: %s}", kind, name))[0]
	patch := fmt.Appendf(nil, path, fmt.Sprintf(`{"storage":{"size":%q}}`, size))
	err = c.Patch(v.t.Context(), object, client.RawPatch(types.MergePatchType, patch))
	return w.list(), err
}

const (
	ofCluster = `{"spec":{"groups":%s}}`
	ofGroup   = `{"spec":%s}`
)

type warnings struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

// claims are those of the group, by ordinal.
func (v volumes) claims() []corev1.PersistentVolumeClaim {
	v.t.Helper()
	list := &corev1.PersistentVolumeClaimList{}
	if err := user.List(v.t.Context(), list, client.InNamespace(v.namespace)); err != nil {
		v.t.Fatal(err)
	}
	return list.Items
}

// ask waits until every claim asks for a size.
func (v volumes) ask(members int, size string) {
	v.t.Helper()
	eventually(v.t, "not every claim asks for "+size, func() bool {
		claims := v.claims()
		other := func(c corev1.PersistentVolumeClaim) bool {
			return c.Spec.Resources.Requests.Storage().Cmp(resource.MustParse(size)) != 0
		}
		return len(claims) == members && !slices.ContainsFunc(claims, other)
	}, v.state)
}

// resizer plays what makes volumes larger: it says so of every claim.
func (v volumes) resizer(change func(*corev1.PersistentVolumeClaimStatus)) {
	v.t.Helper()
	claims := v.claims()
	for i := range claims {
		after := claims[i].DeepCopy()
		change(&after.Status)
		if err := user.Status().Patch(v.t.Context(), after, client.MergeFrom(&claims[i])); err != nil {
			v.t.Fatal(err)
		}
	}
}

func having(kind corev1.PersistentVolumeClaimConditionType, message string) func(*corev1.PersistentVolumeClaimStatus) {
	return func(s *corev1.PersistentVolumeClaimStatus) {
		s.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: kind, Status: corev1.ConditionTrue, Message: message}}
	}
}

func holding(size string) func(*corev1.PersistentVolumeClaimStatus) {
	return func(s *corev1.PersistentVolumeClaimStatus) {
		s.Conditions = nil
		s.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	}
}

// events lists the notes of a reason.
func (v volumes) events(reason string) []string {
	v.t.Helper()
	list := &eventsv1.EventList{}
	if err := user.List(v.t.Context(), list, client.InNamespace(v.namespace)); err != nil {
		v.t.Fatal(err)
	}
	var notes []string
	for i := range list.Items {
		if list.Items[i].Reason == reason {
			notes = append(notes, list.Items[i].Type+" "+list.Items[i].Note)
		}
	}
	slices.Sort(notes)
	return notes
}

// The life of a growth: asked for, under way, done; then a member that came later.
func TestVolumesGrow(t *testing.T) {
	t.Parallel()
	v := newVolumes(t, true)
	v.groupSays("True Ready: every member has a volume of 1Gi or more")
	if warned, err := v.resize("CodisCluster", "c", ofCluster, "2Gi"); err != nil || len(warned) > 0 {
		t.Fatalf("warned of %q, %v", warned, err)
	}
	v.ask(2, "2Gi")
	v.groupSays("False VolumeGrowing: data-c-1-0 grows from 1Gi to 2Gi: its driver has not begun")
	v.resizer(having(corev1.PersistentVolumeClaimResizing, ""))
	v.groupSays("False VolumeGrowing: ", "its driver makes it larger")
	v.clusterSays(v1alpha1.ConditionGroupsReady, "False VolumeGrowing: ", "c-1: data-c-1-0 grows from 1Gi to 2Gi")
	v.clusterSays(v1alpha1.ConditionAvailable, "True ")
	v.resizer(having(corev1.PersistentVolumeClaimFileSystemResizePending, ""))
	v.groupSays("False VolumeGrowing: ", "its node makes the file system larger", "kubectl delete pod c-1-0")
	v.resizer(holding("2Gi"))
	v.groupSays("True Ready: every member has a volume of 2Gi or more")
	v.clusterSays(v1alpha1.ConditionReady, "True Ready: ")
	asked := []string{"Normal Asked for 2Gi instead of 1Gi in data-c-1-0", "Normal Asked for 2Gi instead of 1Gi in data-c-1-1"}
	eventually(t, "no events tell of it", func() bool { return slices.Equal(v.events(v1alpha1.ReasonVolumeResizeAsked), asked) },
		func() string { return fmt.Sprint(v.events(v1alpha1.ReasonVolumeResizeAsked)) })

	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"groups":{"replicas":3}}}`))
	if err := user.Patch(t.Context(), &v1alpha1.CodisCluster{ObjectMeta: metav1.ObjectMeta{Namespace: v.namespace, Name: "c"}}, patch); err != nil {
		t.Fatal(err)
	}
	v.ask(3, "2Gi")
	v.groupSays("False VolumeGrowing: data-c-1-2 grows from 1Gi to 2Gi")
	v.resizer(holding("2Gi"))
	v.clusterSays(v1alpha1.ConditionReady, "True Ready: ")
	staysAsItIs(t, v.namespace)
}

// What does not work is said, and how to get out of it.
func TestVolumesThatFailToGrow(t *testing.T) {
	t.Parallel()
	v := newVolumes(t, true)
	if _, err := v.resize("CodisCluster", "c", ofCluster, "9Ti"); err != nil {
		t.Fatal(err)
	}
	v.ask(2, "9Ti")
	v.resizer(having(corev1.PersistentVolumeClaimControllerResizeError, "no disk is that large"))
	v.groupSays("False VolumeResizeFailed: data-c-1-0 cannot grow from 1Gi to 9Ti: ControllerResizeError: no disk is that large",
		"set storage.size to less, but more than 1Gi")
	v.clusterSays(v1alpha1.ConditionReady, "False VolumeResizeFailed: ")

	_, err := v.resize("CodisCluster", "c", ofCluster, "1Gi")
	if err == nil || !strings.Contains(err.Error(), "data-c-1-0 asks for 9Ti already and has 1Gi; volumes cannot shrink") {
		t.Errorf("1Gi again: %v", err)
	}
	if _, err := v.resize("CodisCluster", "c", ofCluster, "2Gi"); err != nil {
		t.Fatal(err)
	}
	v.ask(2, "2Gi")
	v.resizer(holding("2Gi"))
	v.clusterSays(v1alpha1.ConditionReady, "True Ready: ")
}

// A quota is the API server's refusal; it is told, and once it is raised, volumes grow.
func TestAQuotaIsInTheWayOfVolumes(t *testing.T) {
	t.Parallel()
	v := newVolumes(t, true)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: v.namespace, Name: "q"}}
	hard := func(size string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceRequestsStorage: resource.MustParse(size)}
	}
	quota.Spec.Hard = hard("2Gi")
	if err := user.Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	count := func() {
		t.Helper()
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: hard("2Gi")}
		if err := user.Status().Update(t.Context(), quota); err != nil {
			t.Fatal(err)
		}
	}
	count()
	if _, err := v.resize("CodisCluster", "c", ofCluster, "2Gi"); err != nil {
		t.Fatal(err)
	}
	v.groupSays("False VolumeResizeFailed: data-c-1-0 cannot go from 1Gi to 2Gi: the API server refused: ", "exceeded quota: q")
	quota.Spec.Hard = hard("9Gi")
	if err := user.Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	count()
	v.ask(2, "2Gi")
	v.resizer(holding("2Gi"))
	v.clusterSays(v1alpha1.ConditionReady, "True Ready: ")
}

// A class that does not let volumes grow: a warning, a condition, and a way back; and
// whoever owns the class may change that.
func TestVolumesThatMayNotGrow(t *testing.T) {
	t.Parallel()
	v := newVolumes(t, false)
	note := fmt.Sprintf(`volumes that are there stay as large as they are: its StorageClass %q does not allow it`, v.namespace)
	grow := func() {
		t.Helper()
		warned, err := v.resize("CodisCluster", "c", ofCluster, "2Gi")
		if err != nil || len(warned) != 1 || !strings.HasPrefix(warned[0], "spec.groups.storage.size: "+note) {
			t.Errorf("warned of %q, %v", warned, err)
		}
		v.groupSays("False VolumeNotExpandable: data-c-1-0 cannot go from 1Gi to 2Gi: ", v.namespace, "set storage.size to what it was")
		v.clusterSays(v1alpha1.ConditionReady, "False VolumeNotExpandable: ")
		v.clusterSays(v1alpha1.ConditionAvailable, "True ")
		v.ask(2, "1Gi")
	}
	grow()
	if warned, err := v.resize("CodisCluster", "c", ofCluster, "1Gi"); err != nil || len(warned) > 0 {
		t.Fatalf("the way back: warned of %q, %v", warned, err)
	}
	v.clusterSays(v1alpha1.ConditionReady, "True Ready: ")
	grow()
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: v.namespace}}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"allowVolumeExpansion":true}`))
	if err := user.Patch(t.Context(), class, patch); err != nil {
		t.Fatal(err)
	}
	v.ask(2, "2Gi")
	v.resizer(holding("2Gi"))
	v.clusterSays(v1alpha1.ConditionReady, "True Ready: ")
}

// Volumes do not shrink: the webhooks of both kinds refuse it, and where they were not
// asked, a condition does.
func TestVolumesDoNotShrink(t *testing.T) {
	t.Parallel()
	v := newVolumes(t, true)
	for kind, at := range map[string][3]string{
		"CodisCluster": {"c", ofCluster, "spec.groups.storage.size"}, "CodisGroup": {"c-1", ofGroup, "spec.storage.size"},
	} {
		_, err := v.resize(kind, at[0], at[1], "500Mi")
		want := at[2] + `: Invalid value: "500Mi": data-c-1-0 asks for 1Gi already and has 1Gi; volumes cannot shrink`
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	// Nobody compares an object that is made anew, on volumes that were kept.
	namespace := v.namespace
	again := strings.NewReplacer("name: c", "name: d", "1Gi", "500Mi").Replace(fmt.Sprintf(storedCluster, namespace))
	for ordinal := range 2 {
		claim := v.claims()[ordinal]
		kept := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("data-d-1-%d", ordinal), Labels: map[string]string{},
		}}
		for key, value := range claim.Labels {
			kept.Labels[key] = strings.ReplaceAll(value, "c-1", "d-1")
		}
		kept.Spec = *claim.Spec.DeepCopy()
		if err := user.Create(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
	}
	create(t, parse(t, namespace, again)...)
	g := &v1alpha1.CodisGroup{}
	v.says("False VolumeShrinkRefused: storage.size is 500Mi, and data-d-1-0 asks for 1Gi: volumes cannot shrink",
		[]string{"set storage.size to 1Gi"}, func() (string, error) {
			err := user.Get(t.Context(), v.key("d-1"), g)
			return said(g.Status.Conditions, v1alpha1.ConditionVolumesReady), err
		})
	if _, err := v.resize("CodisCluster", "d", ofCluster, "1Gi"); err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.CodisCluster{}
	v.says("True Ready: ", nil, func() (string, error) {
		err := user.Get(t.Context(), v.key("d"), c)
		return said(c.Status.Conditions, v1alpha1.ConditionReady), err
	})
}
