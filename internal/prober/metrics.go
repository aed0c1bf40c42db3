// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package prober

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	probeSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "codis_operator_probe_seconds",
		Help:    "How long codis-servers take to answer a probe, of those that are answered.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	})
	stateChanges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "codis_operator_probe_state_changes_total",
		Help: "How often the state of a codis-server became another one, as seen by the probes.",
	}, []string{"to"})
)

func init() { metrics.Registry.MustRegister(probeSeconds, stateChanges) }
