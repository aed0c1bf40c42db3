// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package podtemplate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// HTTPProbe asks for a path of a port.
func HTTPProbe(path string, port, periodSeconds, failureThreshold int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromInt32(port), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds: periodSeconds, FailureThreshold: failureThreshold, TimeoutSeconds: 2,
	}
}

// HungProbe kills a process that answered nothing three times in a row, after some 6
// seconds. One that hangs hears no SIGTERM, so that it is not waited for.
func HungProbe(path string, port int32) *corev1.Probe {
	probe := HTTPProbe(path, port, 2, 3)
	probe.TerminationGracePeriodSeconds = new(int64(2))
	return probe
}

// ExecProbe runs a command in the container.
func ExecProbe(periodSeconds, failureThreshold int32, command ...string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}},
		PeriodSeconds: periodSeconds, FailureThreshold: failureThreshold, TimeoutSeconds: 3,
	}
}

// TCPProbe connects to a port.
func TCPProbe(port, periodSeconds, failureThreshold int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}},
		PeriodSeconds: periodSeconds, FailureThreshold: failureThreshold, TimeoutSeconds: 2,
	}
}
