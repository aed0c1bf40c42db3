// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/apply"
)

func TestRun(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	type answer struct {
		after time.Duration
		err   error
	}
	tests := map[string]struct {
		steps []answer
		want  time.Duration
		errs  []error
	}{
		"no steps":                          {},
		"nothing is wished":                 {steps: []answer{{}, {}}},
		"the soonest wish wins":             {steps: []answer{{Later, nil}, {Soon, nil}, {Steady, nil}}, want: Soon},
		"no wish is no soonest wish":        {steps: []answer{{Later, nil}, {0, nil}}, want: Later},
		"a failing step stops nobody":       {steps: []answer{{0, first}, {Soon, nil}}, want: Soon, errs: []error{first}},
		"every error is returned":           {steps: []answer{{Later, first}, {0, second}}, want: Later, errs: []error{first, second}},
		"the wish of a failing step counts": {steps: []answer{{Soon, first}, {Steady, nil}}, want: Soon, errs: []error{first}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var steps []Step
			var ran []int
			for i, a := range tt.steps {
				steps = append(steps, func(context.Context) (time.Duration, error) {
					ran = append(ran, i)
					return a.after, a.err
				})
			}
			result, err := Run(t.Context(), steps...)
			if result.RequeueAfter != tt.want {
				t.Errorf("looks again after %s, want %s", result.RequeueAfter, tt.want)
			}
			for _, want := range tt.errs {
				if !errors.Is(err, want) {
					t.Errorf("%v lacks %v", err, want)
				}
			}
			if (err != nil) != (len(tt.errs) > 0) {
				t.Errorf("got %v", err)
			}
			for i, got := range ran {
				if i != got {
					t.Errorf("ran %v", ran)
				}
			}
			if len(ran) != len(tt.steps) {
				t.Errorf("ran %d of %d steps", len(ran), len(tt.steps))
			}
		})
	}
}

func TestPaused(t *testing.T) {
	tests := map[string]struct {
		annotations map[string]string
		want        bool
	}{
		"asked for":     {map[string]string{"codis.io/paused": "true"}, true},
		"taken back":    {map[string]string{"codis.io/paused": "false"}, false},
		"never asked":   {map[string]string{"codis.io/other": "true"}, false},
		"no annotation": {nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			object := &v1alpha1.CodisGroup{ObjectMeta: metav1.ObjectMeta{Annotations: tt.annotations}}
			if got := Paused(object); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func TestUnexpected(t *testing.T) {
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "StatefulSet"}, "g", nil)
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "statefulsets"}, "g", errors.New("changed"))
	tests := map[string]struct {
		err  error
		want bool
	}{
		"none":                      {nil, false},
		"a name is taken":           {fmt.Errorf("apply: %w", apply.ErrCollision), false},
		"the API server refuses":    {invalid, false},
		"a conflict is tried again": {conflict, true},
		"anything else":             {errors.New("boom"), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Unexpected(tt.err)
			if (got != nil) != tt.want {
				t.Errorf("got %v", got)
			}
			if tt.want && !errors.Is(got, tt.err) {
				t.Errorf("%v became %v", tt.err, got)
			}
		})
	}
}

func TestDone(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "statefulsets"}, "g", errors.New("changed"))
	boom := errors.New("boom")
	steady := ctrl.Result{RequeueAfter: Steady}
	tests := map[string]struct {
		errs []error
		want ctrl.Result
		err  error
	}{
		"no error":                  {[]error{nil, nil}, steady, nil},
		"a conflict is no error":    {[]error{nil, fmt.Errorf("write status: %w", conflict)}, ctrl.Result{RequeueAfter: Soon}, nil},
		"an error leads to a retry": {[]error{boom, nil}, ctrl.Result{}, boom},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := Done(steady, tt.errs...)
			if result != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
}
