// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import "time"

const (
	// silentFor is how long nothing on a node has answered before the dashboard there is
	// told to end. A kubelet that lives does that, and a dashboard that nobody reaches is
	// of no use meanwhile. It is the time of two looks, each of which every pod there leaves
	// unanswered for dialTimeout, after the dashboard did.
	silentFor = 2500 * time.Millisecond
	// endGrace is the grace in seconds that it is told to end with. A dashboard ends
	// within a second of SIGTERM (reference of Codis 3.2, cmd/dashboard), and kubelet
	// grants two at least.
	endGrace int64 = 1
	// unconfirmed is how long after that grace a kubelet may take to say that the pod has
	// ended. One that lives has killed what was left a second before. It is short, since
	// nothing else on the node answers either.
	unconfirmed = 2 * time.Second
)

// quietNode is what a pass has found out about a dashboard that did not answer, and about
// its node. All times are the operator's own, so that no two clocks are compared.
type quietNode struct {
	// served tells that the last word of the kubelet was that the dashboard is ready.
	served bool
	// ending tells that the pod was told to end, graceOver how long its grace is over;
	// negative while it lasts.
	ending    bool
	graceOver time.Duration
	// again tells that a pod of the dashboard was told to end before, and that the
	// dashboard has not answered since.
	again bool
	// moving tells that slots were on their way when it answered last, or may have been since:
	// how many do is recorded some seconds late, and between two of them there are none.
	moving bool
	// working tells that it had a promotion or a sync action unfinished when it answered
	// last, or that a promotion is being carried out.
	working bool

	// quiet is how long neither the dashboard nor anything else on the node has answered.
	quiet time.Duration
	// others are the other nodes that were asked, heard how many of them answered.
	others, heard int
	// beside is how many pods of its namespace were asked on other nodes, besideHeard
	// whether any of them answered.
	beside      int
	besideHeard bool
	// leased tells that the Lease of the node can be read; renewed that its kubelet has
	// renewed it a moment ago.
	leased, renewed bool
	// stored tells that the store answers without its members on the node.
	stored bool
}

// remedy is what is done about a dashboard on a silent node.
type remedy int

// Remedies.
const (
	// wait does nothing.
	wait remedy = iota
	// tellToEnd has the kubelet end the pod, as any deletion.
	tellToEnd
	// giveUp takes the pod away without the kubelet.
	giveUp
)

// guard says why a remedy waits; nothing if it need not.
type guard func(s quietNode) string

// beforeTelling are the guards of tellToEnd, which is a question to the kubelet as well:
// where it lives, the pod ends in order, and another one is started. A dashboard that
// cannot be reached in its new pod either is left alone.
var beforeTelling = []guard{neverServed, toldBefore, notQuietForLong, operatorCutOff, shutOut}

// beforeGivingUp are the guards of giveUp. The dashboard may live then, without being
// reached by the operator, the API server or, as far as it can be seen, anybody else.
var beforeGivingUp = []guard{
	notQuietForLong, operatorCutOff, shutOut, graceLasts, kubeletLives, slotsMove, workUnfinished, storeSilent,
}

// remedyFor decides what to do about a dashboard on a silent node, and says what
// keeps it from more. It is pure.
//
// The pod is taken away only if a kubelet that was told to end it did not, nothing else
// on its node answers, most other nodes do, and the store works without that node. A
// dashboard that is cut off from all of these can store nothing.
func remedyFor(s quietNode) (next remedy, why string) {
	guards, then := beforeTelling, tellToEnd
	if s.ending {
		guards, then = beforeGivingUp, giveUp
	}
	for _, g := range guards {
		if why := g(s); why != "" {
			return wait, why
		}
	}
	return then, ""
}

func neverServed(s quietNode) string {
	if !s.served {
		return "its pod was not ready before"
	}
	return ""
}

func toldBefore(s quietNode) string {
	if s.again {
		return "it was started anew once, and cannot be reached there either"
	}
	return ""
}

func notQuietForLong(s quietNode) string {
	if s.quiet < silentFor {
		return "something answered a moment ago"
	}
	return ""
}

// operatorCutOff tells whether the operator may be the one that is cut off: where it
// runs itself, others answer although all other nodes are out of its reach.
func operatorCutOff(s quietNode) string {
	if 2*s.heard <= s.others {
		return "most other nodes do not answer either, so that the operator may be cut off"
	}
	return ""
}

// shutOut tells whether the operator may be kept out of the namespace, by a NetworkPolicy
// there, while everything in it is sound.
func shutOut(s quietNode) string {
	if s.beside > 0 && !s.besideHeard {
		return "no pod of its namespace answers on any other node either, so that a NetworkPolicy may keep the operator out"
	}
	return ""
}

func graceLasts(s quietNode) string {
	if s.graceOver < unconfirmed {
		return "its kubelet has a moment to end it"
	}
	return ""
}

// kubeletLives takes a Lease that cannot be read for one that is renewed.
func kubeletLives(s quietNode) string {
	switch {
	case !s.leased:
		return "the Lease of the node in kube-node-lease cannot be read"
	case s.renewed:
		return "its kubelet renews the Lease of the node, and has to end it"
	}
	return ""
}

// slotsMove keeps a dashboard from getting a successor quickly that would take over in
// the middle of a move: the old one knows the same move, and goes on with it if its node
// is back before its kubelet has ended it. Clients do not wait for moves.
func slotsMove(s quietNode) string {
	if s.moving {
		return "slots were moving, with which it may go on when it is back"
	}
	return ""
}

// workUnfinished is slotsMove for what the dashboard does to servers: it would have servers
// follow, or proxies use, a master that may be none any more. Failovers need no dashboard.
func workUnfinished(s quietNode) string {
	if s.working {
		return "a promotion or a sync action was not finished, with which it may go on when it is back"
	}
	return ""
}

func storeSilent(s quietNode) string {
	if !s.stored {
		return "its store does not answer without that node"
	}
	return ""
}
