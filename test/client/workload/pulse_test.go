// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPulse(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	tests := map[string]struct {
		beats []int
		want  []Gap
	}{
		"none":                     {},
		"one is never late":        {beats: []int{70000}},
		"in time":                  {beats: []int{0, 5, 10, 15}},
		"a little late":            {beats: []int{0, 5, 34, 39}},
		"as late as is told":       {[]int{0, 5, 35, 40}, []Gap{{at(10), at(35)}}},
		"again and again":          {[]int{0, 1005, 1010, 4015}, []Gap{{at(5), at(1005)}, {at(1015), at(4015)}}},
		"sooner, as the last is":   {beats: []int{0, 5, 6}},
		"late after one too early": {[]int{0, 1, 106}, []Gap{{at(6), at(106)}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pulse{}
			for _, beat := range tt.beats {
				p.now = func() time.Time { return at(beat) }
				p.beat()
			}
			if diff := cmp.Diff(tt.want, p.late); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestALoadTellsWhenItWasHeldUp(t *testing.T) {
	s := newServer(t)
	var beats atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	load := Load{Target: s.target(), Prefix: "held", Writers: 1, Rate: 1000, Report: time.Hour}
	load.now = func() time.Time {
		now := time.Unix(1000, 0).Add(time.Duration(beats.Add(1)) * period)
		if beats.Load() > 3 {
			stop()
			now = now.Add(time.Second)
		}
		return now
	}
	summary, err := load.Run(ctx, func(Report) {})
	if err != nil {
		t.Fatal(err)
	}
	from := time.Unix(1000, 0).Add(4 * period)
	if diff := cmp.Diff([]Gap{{from, from.Add(time.Second)}}, summary.HeldUp); diff != "" {
		t.Error(diff)
	}
}
