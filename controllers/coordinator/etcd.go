// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/config"
	"github.com/codis-io/codis-operator/internal/etcd"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

// etcdKeeper keeps an etcd.
type etcdKeeper struct{}

const etcdDir = "/var/lib/etcd"

var errNoLeader = errors.New("nobody leads")

func (etcdKeeper) ports() []corev1.ContainerPort {
	return []corev1.ContainerPort{
		{Name: "client", ContainerPort: naming.PortEtcd}, {Name: "peer", ContainerPort: naming.PortEtcdPeer},
	}
}

func (etcdKeeper) peer(c *v1alpha1.CodisCoordinator, domain naming.Domain, ordinal int) string {
	return peerURL(c, domain, ordinal)
}

func (etcdKeeper) founder(c *v1alpha1.CodisCoordinator, domain naming.Domain) roster.ID {
	return etcd.FounderID(peerURL(c, domain, 0), token(c))
}

func peerURL(c *v1alpha1.CodisCoordinator, domain naming.Domain, ordinal int) string {
	return "http://" + domain.CoordinatorAddr(c.Namespace, c.Name, ordinal, naming.PortEtcdPeer)
}

// token of the ensemble: the same for a namesake made later, which finds the data
// of this one on volumes that were kept.
func token(c *v1alpha1.CodisCoordinator) string { return c.Namespace + "/" + c.Name }

func (etcdKeeper) files(
	c *v1alpha1.CodisCoordinator, domain naming.Domain, _ *ensemble, ordinal int, given map[int]seat.Seat,
) map[string]string {
	s, pod := given[ordinal], naming.CoordinatorPod(c.Name, ordinal)
	member := config.EtcdMember{
		Name: pod, Directory: etcdDir + "/" + s.ID, PeerURL: peerURL(c, domain, ordinal),
		ClientURL: "http://" + domain.CoordinatorAddr(c.Namespace, c.Name, ordinal, naming.PortEtcd),
		Token:     token(c), Founds: s.Fresh && s.Founder,
	}
	if s.Fresh && !s.Founder {
		member.Peers = map[string]string{}
		for other := range given {
			member.Peers[naming.CoordinatorPod(c.Name, other)] = peerURL(c, domain, other)
		}
	}
	return map[string]string{pod + ".yaml": config.Etcd(member)}
}

func (k etcdKeeper) dress(pod *podtemplate.Pod) {
	pod.Image = pod.Images.Etcd
	pod.Gate = &corev1.Container{
		Name: gateContainer, Env: []corev1.EnvVar{podName()}, VolumeMounts: mounts(etcdDir),
		Command: []string{"/member-gate", "--seat=" + seatDir + "/$(POD_NAME).json", "--volume=" + etcdDir},
	}
	pod.Container = corev1.Container{
		Name: "etcd", Env: []corev1.EnvVar{podName()}, VolumeMounts: mounts(etcdDir),
		Command: []string{"etcd", "--config-file=" + seatDir + "/$(POD_NAME).yaml"},
		Ports:   k.ports(),
		// /health asks the quorum; a member that is cut off is not ready, and
		// restarting it would not help. The client port opens only with a quorum,
		// the other one at once.
		ReadinessProbe: podtemplate.HTTPProbe("/health", naming.PortEtcd, 2, 3),
		LivenessProbe:  podtemplate.HTTPProbe("/version", naming.PortEtcdPeer, 10, 6),
	}
}

func (k etcdKeeper) ask(ctx context.Context, s *state) {
	askEtcd(ctx, s.ensemble.places, s.pods)
	k.agree(ctx, s)
}

// clientOf is a port of the member in a pod.
func clientOf(pod *corev1.Pod, port int) etcd.Client {
	return etcd.Client{Addr: net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(port)), Timeout: askTimeout}
}

// askEtcd asks all members at once for their status and what they heard.
func askEtcd(ctx context.Context, places []place, pods []*corev1.Pod) {
	var asked sync.WaitGroup
	for i, pod := range pods {
		if pod == nil || pod.Status.PodIP == "" || podtemplate.Ended(pod) {
			continue
		}
		asked.Go(func() {
			if status, err := clientOf(pod, naming.PortEtcd).Status(ctx); err == nil {
				places[i].status = &status
			}
		})
		asked.Go(func() {
			if heard, err := clientOf(pod, naming.PortEtcdPeer).Heard(ctx); err == nil {
				places[i].heard = heard
			}
		})
	}
	asked.Wait()
}

// agree asks somebody who follows a leader for what a quorum stands for. Whoever is not
// listed where it answers is a member of another ensemble.
func (k etcdKeeper) agree(ctx context.Context, s *state) {
	for i := range s.ensemble.places {
		p := &s.ensemble.places[i]
		if p.status == nil || p.status.Leader == 0 || p.status.Learner {
			continue
		}
		c := k.client(s, p)
		agreed, err := c.Members(ctx, true)
		if err != nil || len(agreed) == 0 {
			continue
		}
		if !p.listed(agreed) {
			p.status = nil
			continue
		}
		slices.SortFunc(agreed, func(a, b roster.Member) int {
			return slices.Compare(a.PeerURLs, b.PeerURLs)
		})
		s.ensemble.agreed, s.ensemble.founded = agreed, true
		s.ensemble.dropUnlisted()
		if alarms, err := c.Alarms(ctx); err == nil {
			s.ensemble.alarms = alarms
		}
		return
	}
}

// client of the member at a place.
func (etcdKeeper) client(s *state, p *place) etcd.Client {
	return clientOf(s.pods[p.ordinal], naming.PortEtcd)
}

// change asks the leader for a change of the ensemble.
func (k etcdKeeper) change(ctx context.Context, r *Reconciler, s *state) error {
	d := s.decision
	if d.verb == relieve {
		return k.relieve(ctx, s)
	}
	leading := s.leading()
	if leading == nil {
		return errNoLeader
	}
	c := k.client(s, leading)
	c.Timeout = changeTimeout
	var err error
	switch d.verb {
	case add:
		var m roster.Member
		if m, err = c.AddLearner(ctx, d.place.peerURL); err == nil {
			r.added(s, m.ID)
		}
	case remove:
		if err = c.Remove(ctx, d.id); err == nil {
			r.removed(s)
		}
	case promote:
		err = c.Promote(ctx, d.id)
	case transfer:
		err = c.TransferLeadership(ctx, d.id)
	case keep, wait, hold, replace, relieve: // No change of the ensemble.
	}
	return refusal(d, err)
}

// relieve makes room on every member and takes the alarms back. Codis has no
// keys where the room is counted, so there is always some to make.
func (k etcdKeeper) relieve(ctx context.Context, s *state) error {
	var errs []error
	for i := range s.ensemble.places {
		if p := &s.ensemble.places[i]; p.status != nil {
			c := k.client(s, p)
			c.Timeout = changeTimeout
			errs = append(errs, c.Compact(ctx), c.Defragment(ctx))
		}
	}
	if leading := s.leading(); leading != nil && errors.Join(errs...) == nil {
		for _, alarm := range s.ensemble.alarms {
			errs = append(errs, k.client(s, leading).Disarm(ctx, alarm))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make room: %w", err)
	}
	return nil
}
