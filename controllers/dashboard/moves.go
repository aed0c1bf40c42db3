// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
	"github.com/codis-io/codis-operator/internal/planner"
	"github.com/codis-io/codis-operator/internal/reconcile"
	"github.com/codis-io/codis-operator/internal/watch"
)

// stuckAfter is how long a move that has begun may show no sign of life.
const stuckAfter = time.Minute

// moveSlots brings the layout closer to balance.
//
// Phases: put back what a restarted dashboard has forgotten; take back pending
// moves that no longer fit; queue the next ones. The dashboard keeps what is
// queued and carries it out, also while nobody looks: after a crash at any line,
// of the operator or the dashboard, the next pass plans with what it finds. A
// slot is never assigned here, so that no key is left behind.
func (r *Reconciler) moveSlots(ctx context.Context, s *state) (time.Duration, error) {
	if s.stats == nil {
		return 0, nil // assignSlots looks again.
	}
	want := wantingOf(s.dashboard)
	s.balance = decideBalance(s.stats, s.groups, want)
	s.notMoved = r.restoreSettings(ctx, s, want)
	if s.notMoved == nil {
		s.notMoved = r.carryOut(ctx, s)
	}
	if len(s.balance.cancel)+len(s.balance.move.Moves) > 0 {
		full, slow := s.balance.move.Full, s.balance.slow
		if stats, err := s.api.Stats(ctx); err == nil { // So that the status tells of moves from the first moment.
			s.stats = stats
			s.balance = decideBalance(s.stats, s.groups, want)
		}
		s.balance.move.Full = union(full, s.balance.move.Full)
		s.balance.slow = union(slow, s.balance.slow)
	}
	s.stuck = r.watchMoves(s)
	if want.approved && s.balance.plan.Left() == 0 && s.stats.Offline() == 0 && s.notMoved == nil {
		if err := r.clearApproval(ctx, s); err != nil {
			return 0, err
		}
	}
	return s.lookAgain(), nil
}

// union joins ids, in ascending order.
func union(a, b []int) []int {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// lookAgain is how soon moves need another pass.
func (s *state) lookAgain() time.Duration {
	switch {
	case s.notMoved != nil:
		return reconcile.Later
	case s.stats.AnyMove() && !s.balance.pause, len(s.balance.move.Moves) > 0:
		return reconcile.Soon
	}
	return 0
}

// restoreSettings gives the dashboard the settings of moves, which it forgets
// when it is restarted. It is careful to let moves go on: the promotion that they
// were stopped for may have been recorded a moment ago.
func (r *Reconciler) restoreSettings(ctx context.Context, s *state, want wanting) error {
	interval := int64(0)
	if m := s.dashboard.Spec.Migration; m != nil && m.IntervalMicroseconds != nil {
		interval = int64(*m.IntervalMicroseconds)
	}
	now := &s.stats.SlotAction
	if now.Interval != interval {
		if err := s.api.SetMoveInterval(ctx, interval); err != nil {
			return fmt.Errorf("set the interval of moves: %w", err)
		}
		now.Interval = interval
	}
	pause := want.paused || s.balance.failing != "" && (s.stats.AnyMove() || now.Disabled)
	if pause == now.Disabled {
		return nil
	}
	if !pause {
		if promoting, err := r.anyPromotion(ctx, s); promoting || err != nil {
			return err
		}
	}
	if err := s.api.PauseMoves(ctx, pause); err != nil {
		return fmt.Errorf("pause or resume moves: %w", err)
	}
	now.Disabled = pause
	return nil
}

// anyPromotion asks past the cache whether a group changes its master.
func (r *Reconciler) anyPromotion(ctx context.Context, s *state) (bool, error) {
	groups, err := watch.Groups(ctx, r.Reader, s.dashboard.Namespace, s.dashboard.Name)
	if err != nil {
		return false, fmt.Errorf("list groups: %w", err)
	}
	return slices.ContainsFunc(groups, func(g v1alpha1.CodisGroup) bool {
		return g.Status.Promotion != nil || g.Status.Dashboard == v1alpha1.DashboardBehind
	}), nil
}

// carryOut cancels and queues moves, and stops at the first that is refused.
func (r *Reconciler) carryOut(ctx context.Context, s *state) error {
	for _, m := range s.balance.cancel {
		err := s.api.CancelMove(ctx, m.Slot)
		if refused := new(codis.RemoteError); errors.As(err, &refused) {
			continue // It has begun, or is over: the next plan knows.
		}
		if err != nil {
			return fmt.Errorf("cancel the move of slot %d: %w", m.Slot, err)
		}
	}
	for _, run := range runs(s.balance.move.Moves) {
		first, last := run[0], run[len(run)-1]
		if err := s.api.MoveSlots(ctx, first.Slot, last.Slot, first.To); err != nil {
			return fmt.Errorf("move slots %d to %d to group %d: %w", first.Slot, last.Slot, first.To, err)
		}
	}
	return nil
}

// clearApproval removes the annotation once there is nothing left to do.
func (r *Reconciler) clearApproval(ctx context.Context, s *state) error {
	before := s.dashboard.DeepCopy()
	after := before.DeepCopy()
	delete(after.Annotations, v1alpha1.AnnotationRebalance)
	if err := r.Client.Patch(ctx, after, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("remove annotation: %w", err)
	}
	s.dashboard.ResourceVersion = after.ResourceVersion
	return nil
}

// sight is what was seen of a dashboard, and since when, by the operator's own clock.
type sight struct {
	what  string
	since time.Time
}

// watchMoves words a move that has begun and gets no further, or returns "". What
// it remembers is only told, and lost with the operator.
func (r *Reconciler) watchMoves(s *state) string {
	begun := begunMoves(s.stats)
	if len(begun) == 0 || s.stats.SlotAction.Disabled {
		r.seen.Delete(s.dashboard.UID)
		return ""
	}
	now := sight{what: sightOf(s.stats), since: r.Clock.Now()}
	if before, ok := r.seen.Load(s.dashboard.UID); ok {
		if last, ok := before.(sight); ok && last.what == now.what {
			now.since = last.since
		}
	}
	r.seen.Store(s.dashboard.UID, now)
	if r.Clock.Since(now.since) < stuckAfter {
		return ""
	}
	return stuckMessage(s.stats, begun[0])
}

func begunMoves(stats *codis.Stats) []planner.Move {
	var begun []planner.Move
	for _, slot := range stats.Slots {
		if slot.Action.State != "" && slot.Action.State != codis.ActionPending {
			begun = append(begun, planner.Move{Slot: slot.ID, From: slot.GroupID, To: slot.Action.TargetID})
		}
	}
	return begun
}

// failure is how the dashboard tells that a step went wrong.
const failure = "[ERROR]"

// sightOf is what changes while moves go on; the text of a failure may change by itself.
func sightOf(stats *codis.Stats) string {
	var out strings.Builder
	for _, slot := range stats.Slots {
		if slot.Action.State != "" && slot.Action.State != codis.ActionPending {
			fmt.Fprintf(&out, "%d %s ", slot.ID, slot.Action.State)
		}
	}
	if status := stats.SlotAction.Progress.Status; !strings.HasPrefix(status, failure) {
		out.WriteString(status)
	}
	return out.String()
}

// localAddress is the side of a connection that differs each time.
var localAddress = regexp.MustCompile(`\S+:\d+->`)

func stuckMessage(stats *codis.Stats, m planner.Move) string {
	message := fmt.Sprintf("slot %d, on its way from group %d to group %d, gets no further", m.Slot, m.From, m.To)
	if status := stats.SlotAction.Progress.Status; strings.HasPrefix(status, failure) {
		message += ": " + localAddress.ReplaceAllString(strings.TrimSpace(strings.TrimPrefix(status, failure)), "")
	}
	if deaf := stats.DeafProxies(); len(deaf) > 0 {
		slices.Sort(deaf)
		message += "; proxies that do not answer the dashboard: " + strings.Join(deaf, ", ")
	}
	return message
}
