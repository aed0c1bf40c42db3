// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/naming"
	"github.com/codis-io/codis-operator/internal/podtemplate"
	"github.com/codis-io/codis-operator/internal/roster"
	"github.com/codis-io/codis-operator/internal/seat"
)

// keeper is what differs between the kinds of ensembles: how a pod is made, how
// members are asked, and how they are told who belongs to them.
type keeper interface {
	// ports of a member: that of clients first, then those of members.
	ports() []corev1.ContainerPort
	// peer is the address that the ensemble knows a member by.
	peer(c *v1alpha1.CodisCoordinator, domain naming.Domain, ordinal int) string
	// founder is the identity that founds an ensemble.
	founder(c *v1alpha1.CodisCoordinator, domain naming.Domain) roster.ID
	// files that a member in a seat needs, by their names in the ConfigMap.
	files(c *v1alpha1.CodisCoordinator, domain naming.Domain, e *ensemble, ordinal int,
		given map[int]seat.Seat) map[string]string
	// dress completes the pod of a member.
	dress(pod *podtemplate.Pod)
	// ask asks all members at once and fills in what they and a quorum say. One
	// that does not answer is left without status.
	ask(ctx context.Context, s *state)
	// change makes the change of the ensemble that was decided.
	change(ctx context.Context, r *Reconciler, s *state) error
}

func keeperOf(c *v1alpha1.CodisCoordinator) keeper {
	if c.Spec.Type == v1alpha1.CoordinatorZooKeeper {
		return zooKeeper{}
	}
	return etcdKeeper{}
}

// clientPort is the one that dashboards use.
func clientPort(k keeper) int { return int(k.ports()[0].ContainerPort) }

// added, promoted and removed word what was done.
func (r *Reconciler) added(s *state, id roster.ID) {
	r.tell(s, v1alpha1.ReasonMemberAdded, "Added %s as member %s", s.decision.place.pod, id)
}

func (r *Reconciler) removed(s *state) {
	r.tell(s, v1alpha1.ReasonMemberRemoved, "Removed %s, which was member %s", s.decision.place.pod, s.decision.id)
}

// refusal tells what the ensemble answered to a decision.
func refusal(d decision, err error) error {
	if err == nil {
		return nil
	}
	verbs := map[verb]string{add: "add %s", promote: "give %s a vote", remove: "remove %s", transfer: "let %s lead"}
	return fmt.Errorf(verbs[d.verb]+": %w", d.place.pod, err)
}
