// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// Results of a change of master.
const (
	// resultPromoted: the member takes writes and the dashboard knows.
	resultPromoted = "Promoted"
	// resultGivenUp: another member is master in the end, mostly the old one.
	resultGivenUp = "GivenUp"
)

var (
	failovers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "codis_operator_failovers_total",
		Help: "Changes of master that the operator began, by cause and result.",
	}, []string{"cause", "result"})
	falseAlarms = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "codis_operator_false_alarms_total",
		Help: "How often a master did not answer for a while and went on as master.",
	})
	failoverSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "codis_operator_failover_duration_seconds",
		Help:    "Time from the decision to replace a master until the new one was seen to take writes.",
		Buckets: []float64{.05, .1, .2, .5, 1, 2, 5, 10, 30, 120},
	})
)

func init() { metrics.Registry.MustRegister(failovers, falseAlarms, failoverSeconds) }

// falseAlarm tells whether a master that did not answer by the one status is the
// master by the next one, in the same process.
func falseAlarm(before, after *v1alpha1.CodisGroupStatus) bool {
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionMasterReachable)
	return was != nil && was.Status == metav1.ConditionFalse && was.Reason == v1alpha1.ReasonMasterUnreachable &&
		meta.IsStatusConditionTrue(after.Conditions, v1alpha1.ConditionMasterReachable) &&
		after.MasterRunID != "" && after.MasterRunID == before.MasterRunID
}
