// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import "testing"

// What is done about a dashboard on a node where nothing answers.
func TestRemedyForASilentNode(t *testing.T) {
	running := quietNode{served: true, quiet: silentFor, others: 2, heard: 2}
	ending := quietNode{
		served: true, ending: true, again: true, graceOver: unconfirmed, quiet: silentFor,
		others: 2, heard: 2, leased: true, stored: true,
	}
	tests := map[string]struct {
		from   quietNode
		change func(n *quietNode)
		want   remedy
		why    string
	}{
		"silent for long enough":              {running, nil, tellToEnd, ""},
		"told without a look at the kubelet":  {running, func(n *quietNode) { n.leased, n.renewed = true, true }, tellToEnd, ""},
		"told though slots move":              {running, func(n *quietNode) { n.moving = true }, tellToEnd, ""},
		"on its way up":                       {running, func(n *quietNode) { n.served = false }, wait, "its pod was not ready before"},
		"not reached in its new pod either":   {running, func(n *quietNode) { n.again = true }, wait, "it was started anew once, and cannot be reached there either"},
		"silent for a moment":                 {running, func(n *quietNode) { n.quiet-- }, wait, "something answered a moment ago"},
		"as silent as all others":             {running, func(n *quietNode) { n.heard = 0 }, wait, "most other nodes do not answer either, so that the operator may be cut off"},
		"as silent as half of all others":     {running, func(n *quietNode) { n.heard = 1 }, wait, "most other nodes do not answer either, so that the operator may be cut off"},
		"silent beside most of three others":  {running, func(n *quietNode) { n.others = 3 }, tellToEnd, ""},
		"nobody else to ask":                  {running, func(n *quietNode) { n.others, n.heard = 0, 0 }, wait, "most other nodes do not answer either, so that the operator may be cut off"},
		"not ended by its kubelet":            {ending, nil, giveUp, ""},
		"told by a person":                    {ending, func(n *quietNode) { n.again = false }, giveUp, ""},
		"never ready, and not ended":          {ending, func(n *quietNode) { n.served = false }, giveUp, ""},
		"its kubelet has a moment left":       {ending, func(n *quietNode) { n.graceOver-- }, wait, "its kubelet has a moment to end it"},
		"something there has answered":        {ending, func(n *quietNode) { n.quiet = 0 }, wait, "something answered a moment ago"},
		"the operator is cut off meanwhile":   {ending, func(n *quietNode) { n.heard = 1 }, wait, "most other nodes do not answer either, so that the operator may be cut off"},
		"its whole namespace is silent":       {running, func(n *quietNode) { n.beside = 2 }, wait, "no pod of its namespace answers on any other node either, so that a NetworkPolicy may keep the operator out"},
		"its whole namespace falls silent":    {ending, func(n *quietNode) { n.beside = 2 }, wait, "no pod of its namespace answers on any other node either, so that a NetworkPolicy may keep the operator out"},
		"its namespace answers elsewhere":     {running, func(n *quietNode) { n.beside, n.besideHeard = 2, true }, tellToEnd, ""},
		"its kubelet renews the Lease":        {ending, func(n *quietNode) { n.renewed = true }, wait, "its kubelet renews the Lease of the node, and has to end it"},
		"its Lease is not known":              {ending, func(n *quietNode) { n.leased = false }, wait, "the Lease of the node in kube-node-lease cannot be read"},
		"slots were moving":                   {ending, func(n *quietNode) { n.moving = true }, wait, "slots were moving, with which it may go on when it is back"},
		"a promotion was not finished":        {ending, func(n *quietNode) { n.working = true }, wait, "a promotion or a sync action was not finished, with which it may go on when it is back"},
		"told though a promotion goes on":     {running, func(n *quietNode) { n.working = true }, tellToEnd, ""},
		"its store needs the silent node":     {ending, func(n *quietNode) { n.stored = false }, wait, "its store does not answer without that node"},
		"nothing is known of it":              {quietNode{ending: true}, nil, wait, "something answered a moment ago"},
		"its kubelet lives and the store not": {ending, func(n *quietNode) { n.renewed, n.stored = true, false }, wait, "its kubelet renews the Lease of the node, and has to end it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := tt.from
			if tt.change != nil {
				tt.change(&n)
			}
			if got, why := remedyFor(n); got != tt.want || why != tt.why {
				t.Errorf("got %d, %q", got, why)
			}
		})
	}
}
