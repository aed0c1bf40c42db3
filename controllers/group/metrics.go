// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	failovers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "codis_operator_failovers_total",
		Help: "Changes of master that the operator carried out, by cause.",
	}, []string{"cause"})
	failoverSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "codis_operator_failover_duration_seconds",
		Help:    "Time from the decision to replace a master until the new one was seen to take writes.",
		Buckets: []float64{.05, .1, .2, .5, 1, 2, 5, 10, 30, 120},
	})
)

func init() { metrics.Registry.MustRegister(failovers, failoverSeconds) }
