// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/codis"
)

func TestUnfinishedWorkIsRecordedFromTheLastAnswer(t *testing.T) {
	promotion, sync := v1alpha1.WorkPromotion, v1alpha1.WorkSync
	tests := map[string]struct {
		answer string // Groups as the dashboard shows them; empty where it is silent.
		groups []groupView
		before []v1alpha1.DashboardWork
		want   []v1alpha1.DashboardWork
	}{
		"nothing is under way":               {answer: `[{"id":1,"servers":[{"server":"a:1","action":{}}],"promoting":{}}]`},
		"what was under way is over":         {answer: `[]`, before: []v1alpha1.DashboardWork{promotion, sync}},
		"it promotes":                        {answer: `[{"id":1,"promoting":{"state":"prepared"}}]`, want: []v1alpha1.DashboardWork{promotion}},
		"it was asked to promote":            {answer: `[]`, groups: []groupView{{}, {changing: true}}, want: []v1alpha1.DashboardWork{promotion}},
		"it has still to be told":            {answer: `[]`, groups: []groupView{{promoting: true}}},
		"a sync action is queued":            {answer: `[{"servers":[{"action":{}},{"action":{"index":1,"state":"pending"}}]}]`, want: []v1alpha1.DashboardWork{sync}},
		"a sync action is carried out":       {answer: `[{"servers":[{"action":{"state":"syncing"}}]}]`, want: []v1alpha1.DashboardWork{sync}},
		"sync actions are over":              {answer: `[{"servers":[{"action":{"state":"synced"}},{"action":{"state":"synced_failed"}}]}]`},
		"both are":                           {answer: `[{"promoting":{"state":"preparing"}},{"servers":[{"action":{"state":"pending"}}]}]`, want: []v1alpha1.DashboardWork{promotion, sync}},
		"it is silent, and was so at work":   {before: []v1alpha1.DashboardWork{sync}, want: []v1alpha1.DashboardWork{sync}},
		"it is silent, and others promote":   {groups: []groupView{{changing: true}}},
		"it is silent, and nothing is known": {},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &state{dashboard: &v1alpha1.CodisDashboard{}, groups: tt.groups}
			s.dashboard.Status.Unfinished = tt.before
			if tt.answer != "" {
				s.stats = &codis.Stats{}
				if err := json.Unmarshal([]byte(tt.answer), &s.stats.Group.Models); err != nil {
					t.Fatal(err)
				}
			}
			reportUnfinished(s)
			if diff := cmp.Diff(tt.want, s.dashboard.Status.Unfinished); diff != "" {
				t.Error(diff)
			}
		})
	}
}
