// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

// product is a CodisCluster of a story, with a witness of it.
type product struct {
	namespace, name string
	witness         *framework.Witness
	agents          map[string]*framework.Agent
}

// watchProduct starts a witness of a product that is there or about to be.
func watchProduct(ctx context.Context, namespace, name string) *product {
	GinkgoHelper()
	witness, err := cluster.StartWitness(ctx, namespace, name, name+"-auth")
	Expect(err).NotTo(HaveOccurred())
	return &product{namespace: namespace, name: name, witness: witness, agents: map[string]*framework.Agent{}}
}

// waitReady waits for the CodisCluster and returns how long it took.
func waitReady(ctx context.Context, namespace, name string, since time.Time) time.Duration {
	GinkgoHelper()
	return waitReadyWithin(ctx, namespace, name, 2*time.Minute).Sub(since)
}

// waitReadyWithin waits for the CodisCluster and returns when it was ready.
func waitReadyWithin(ctx context.Context, namespace, name string, patience time.Duration) time.Time {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at, err := cluster.WatchReady(ctx, namespace, name)
	Expect(err).NotTo(HaveOccurred())
	return at
}

// seconds words a duration for the report.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// pods of a component, of any component if it is empty.
func (p *product) pods(ctx context.Context, component string) []corev1.Pod {
	GinkgoHelper()
	labels := map[string]string{v1alpha1.LabelManagedBy: "codis-operator"}
	if component != "" {
		labels[v1alpha1.LabelComponent] = component
	}
	pods, err := cluster.Pods(ctx, p.namespace, labels)
	Expect(err).NotTo(HaveOccurred())
	return pods
}

// pod finds a pod by its name.
func (p *product) pod(ctx context.Context, name string) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: name}, pod)).To(Succeed())
	return pod
}

// seen is the last observation of the witness.
func (p *product) seen() observer.Observation {
	GinkgoHelper()
	seen, err := p.witness.Last()
	Expect(err).NotTo(HaveOccurred())
	return seen
}

// since returns the observations after a moment.
func (p *product) since(moment time.Time) []observer.Observation {
	GinkgoHelper()
	seen, err := p.witness.Since(moment)
	Expect(err).NotTo(HaveOccurred())
	return seen
}

// expectHealthy holds where the operator says so and the witness agrees.
func (p *product) expectHealthy(ctx context.Context, g Gomega) {
	c := &v1alpha1.CodisCluster{}
	g.Expect(cluster.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: p.name}, c)).To(Succeed())
	g.Expect(framework.Ready(c)).To(BeTrue(), "Ready: %+v", c.Status.Conditions)
	var proxies []string
	pods, err := cluster.Pods(ctx, p.namespace, map[string]string{v1alpha1.LabelManagedBy: "codis-operator"})
	g.Expect(err).NotTo(HaveOccurred())
	for i := range pods {
		g.Expect(pods[i].DeletionTimestamp).To(BeNil(), pods[i].Name)
		g.Expect(isReady(&pods[i])).To(BeTrue(), "%s is ready", pods[i].Name)
		if pods[i].Labels[v1alpha1.LabelComponent] == "proxy" {
			proxies = append(proxies, pods[i].Name)
		}
	}
	slices.Sort(proxies)
	seen, err := p.witness.Last()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(time.Since(seen.Time)).To(BeNumerically("<", 3*time.Second), "the witness looks")
	g.Expect(seen.InRole()).To(BeTrue(), "%+v", seen)
	g.Expect(seen.Slots).NotTo(HaveKey(0), "slots that nobody owns")
	g.Expect(seen.Hostnames()).To(Equal(proxies), "entries of proxies")
}

// waitHealthy waits until all is well and stays so for three seconds, and
// returns when that began.
func (p *product) waitHealthy(ctx context.Context) time.Time {
	GinkgoHelper()
	var began time.Time
	Eventually(func(g Gomega) {
		well := began
		began = time.Time{}
		p.expectHealthy(ctx, g)
		if began = well; began.IsZero() {
			began = time.Now()
		}
		g.Expect(time.Since(began)).To(BeNumerically(">", 3*time.Second), "well for only a moment")
	}).Should(Succeed())
	return began
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// agent returns the agent on a node, which is started the first time.
func (p *product) agent(ctx context.Context, node string) *framework.Agent {
	GinkgoHelper()
	if p.agents[node] == nil {
		agent, err := cluster.StartAgent(ctx, p.namespace, node)
		Expect(err).NotTo(HaveOccurred())
		p.agents[node] = agent
	}
	return p.agents[node]
}

// kill sends SIGKILL to the main process of a pod, with the named directory
// emptied before, and returns when.
func (p *product) kill(ctx context.Context, pod *corev1.Pod, empty string) time.Time {
	GinkgoHelper()
	at, err := p.agent(ctx, pod.Spec.NodeName).Signal(ctx, pod, pod.Spec.Containers[0].Name, "KILL", empty)
	Expect(err).NotTo(HaveOccurred())
	return at
}

// waitReplaced waits until a process is another one than it was: of a new
// container, or of a new pod.
func (p *product) waitReplaced(ctx context.Context, before *corev1.Pod) {
	GinkgoHelper()
	labels := map[string]string{
		v1alpha1.LabelComponent: before.Labels[v1alpha1.LabelComponent],
		v1alpha1.LabelInstance:  before.Labels[v1alpha1.LabelInstance],
	}
	Eventually(func(g Gomega) {
		pods, err := cluster.Pods(ctx, p.namespace, labels)
		g.Expect(err).NotTo(HaveOccurred())
		for i := range pods {
			same := pods[i].UID == before.UID && restarts(&pods[i]) == restarts(before)
			g.Expect(same).To(BeFalse(), "%s still is what it was", before.Name)
		}
	}).Should(Succeed())
}

func restarts(pod *corev1.Pod) int32 {
	var count int32
	for _, status := range pod.Status.ContainerStatuses {
		count += status.RestartCount
	}
	return count
}

// host is the pod in the address of a server.
func host(addr string) string {
	for i, r := range addr {
		if r == '.' {
			return addr[:i]
		}
	}
	return addr
}

// topology is what any two products of the same spec have alike.
type topology struct {
	// Groups with the pods of their servers, in order.
	Groups  map[int][]string
	Slots   map[int]string
	Proxies int
}

// topology is what the dashboard knows.
func (p *product) topology() topology {
	GinkgoHelper()
	seen := p.seen()
	t := topology{Groups: map[int][]string{}, Slots: seen.Slots, Proxies: len(seen.Proxies)}
	for id, servers := range seen.Groups {
		for _, addr := range servers {
			t.Groups[id] = append(t.Groups[id], host(addr))
		}
	}
	return t
}

// twoByTwo is what a new cluster of two groups of two members, with two proxies,
// has in its dashboard.
func twoByTwo(name string) topology {
	return topology{
		Groups: map[int][]string{
			1: {name + "-1-0", name + "-1-1"},
			2: {name + "-2-0", name + "-2-1"},
		},
		Slots:   map[int]string{1: "0-511", 2: "512-1023"},
		Proxies: 2,
	}
}
