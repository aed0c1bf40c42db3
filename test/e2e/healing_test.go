// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"context"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/test/client/observer"
	"github.com/codis-io/codis-operator/test/client/workload"
	"github.com/codis-io/codis-operator/test/e2e/framework"
)

var _ = Describe("Under write load", Ordered, ContinueOnFailure, func() {
	var p *product
	var load *framework.Load

	BeforeAll(func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "create", "-n", namespace, "-f", sampleManifest)
		p = watchProduct(ctx, namespace, "sample")
		p.waitHealthy(ctx)
		var err error
		load, err = cluster.StartLoad(ctx, namespace, "sample")
		Expect(err).NotTo(HaveOccurred())
	}, NodeTimeout(3*time.Minute))

	DescribeTableSubtree("heals by itself when", func(component string) {
		type outcome struct {
			began, dead time.Time
			seen        []observer.Observation
		}
		heal := func(ctx context.Context, told bool, strike func(context.Context, *product, *corev1.Pod) time.Time) outcome {
			p.waitHealthy(ctx)
			victim := p.victim(ctx, component)
			before, err := load.Report()
			Expect(err).NotTo(HaveOccurred())
			o := outcome{began: time.Now()}
			o.dead = strike(ctx, p, victim)
			p.waitReplaced(ctx, victim)
			figure("healthy again after", "%s", seconds(p.waitHealthy(ctx).Sub(o.began)))
			o.seen = p.since(o.began)
			for _, seen := range o.seen {
				Expect(seen.EmptyMasters()).To(BeEmpty())
			}
			checkErrors(component, told, before, load)
			return o
		}

		It("its process is killed", func(ctx SpecContext) {
			o := heal(ctx, false, killProcess)
			if component == "dashboard" {
				took := usableAgain(o.seen).Sub(o.dead)
				figure("dashboard usable again after", "%s", seconds(took))
				Expect(took).To(BeNumerically("<", 15*time.Second))
			}
		}, SpecTimeout(4*time.Minute))

		It("its pod is deleted", func(ctx SpecContext) {
			tokens := p.seen().Proxies
			o := heal(ctx, true, deletePod)
			switch component {
			case "dashboard":
				figure("dashboard usable again after", "%s", seconds(usableAgain(o.seen).Sub(o.began)))
			case "proxy":
				took := max(0, entryGone(o.seen, tokens).Sub(o.dead))
				figure("entry of the dead proxy gone after", "%s", seconds(took))
				Expect(took).To(BeNumerically("<", 15*time.Second))
			}
		}, SpecTimeout(4*time.Minute))
	},
		Entry("the dashboard is lost:", "dashboard"),
		Entry("the web page is lost:", "fe"),
		Entry("a replica is lost:", "server"),
		Entry("one of two proxies is lost:", "proxy"),
	)

	It("loses no acknowledged write", func(ctx SpecContext) {
		lostNothing(ctx, load)
	}, SpecTimeout(5*time.Minute))
})

// victim is a pod of a component; of the servers a replica, and of the proxies
// the one with most clients.
func (p *product) victim(ctx context.Context, component string) *corev1.Pod {
	GinkgoHelper()
	if component == "server" {
		return p.pod(ctx, host(p.seen().Groups[1][1]))
	}
	if component == "proxy" {
		return p.pod(ctx, slices.MaxFunc(p.seen().Proxies, func(a, b observer.Proxy) int {
			return cmp.Compare(a.Sessions, b.Sessions)
		}).Hostname)
	}
	pods := p.pods(ctx, component)
	Expect(pods).NotTo(BeEmpty())
	return &pods[0]
}

// killProcess returns when the process was killed.
func killProcess(ctx context.Context, p *product, victim *corev1.Pod) time.Time {
	GinkgoHelper()
	return p.kill(ctx, victim, "")
}

// deletePod returns when the pod was gone.
func deletePod(ctx context.Context, p *product, victim *corev1.Pod) time.Time {
	GinkgoHelper()
	kubectl(ctx, "delete", "pod", "-n", p.namespace, victim.Name)
	return time.Now()
}

// checkErrors holds what clients felt to what they had to feel: only where a
// proxy went, their connections to it broke. A proxy that is told to end first
// answers that its routes are gone, and closes then.
func checkErrors(component string, told bool, before workload.Report, load *framework.Load) {
	GinkgoHelper()
	after, err := load.Report()
	Expect(err).NotTo(HaveOccurred())
	kinds := map[string]int64{}
	for kind, count := range after.Errors {
		if count > before.Errors[kind] {
			kinds[kind] = count - before.Errors[kind]
		}
	}
	figure("client errors", "%v", kinds)
	if component != "proxy" {
		Expect(kinds).To(BeEmpty(), "%v", after.Texts)
	}
	for kind := range kinds {
		if kind == "reply ERR" && told {
			Expect(after.Texts[kind]).To(HavePrefix("ERR handle request, "))
			continue
		}
		Expect(kind).To(BeElementOf("closed", "reset", "refused"), after.Texts[kind])
	}
}

// entryGone is when the dashboard had forgotten one of the entries.
func entryGone(seen []observer.Observation, entries []observer.Proxy) time.Time {
	GinkgoHelper()
	gone := slices.IndexFunc(seen, func(o observer.Observation) bool {
		return o.Problem == "" && slices.ContainsFunc(entries, func(p observer.Proxy) bool { return !o.HasToken(p.Token) })
	})
	Expect(gone).To(BeNumerically(">=", 0), "the entry was seen gone")
	return seen[gone].Time
}

// usableAgain is when the dashboard answered after it had not.
func usableAgain(seen []observer.Observation) time.Time {
	GinkgoHelper()
	down := slices.IndexFunc(seen, func(o observer.Observation) bool { return o.Problem != "" })
	Expect(down).To(BeNumerically(">=", 0), "the dashboard was seen down")
	up := slices.IndexFunc(seen[down:], func(o observer.Observation) bool { return o.Problem == "" })
	Expect(up).To(BeNumerically(">=", 0), "the dashboard was seen up again")
	return seen[down+up].Time
}
