// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
	"github.com/codis-io/codis-operator/internal/conditions"
	"github.com/codis-io/codis-operator/internal/etcd"
	"github.com/codis-io/codis-operator/internal/product"
)

// externalPeriod is how often somebody else's servers are looked at.
const externalPeriod = 15 * time.Second

// checkExternal asks every endpoint what it is. The dashboard uses the endpoints
// whatever is found: what the operator cannot reach, the dashboard may.
func (r *Reconciler) checkExternal(ctx context.Context, c *v1alpha1.CodisCoordinator) (ctrl.Result, error) {
	c.Status.Endpoints = slices.Clone(c.Spec.External.Endpoints)
	user, password, err := r.login(ctx, c)
	problem, isProblem := errors.AsType[*product.Problem](err)
	if err != nil && !isProblem {
		return ctrl.Result{}, err
	}
	var found []*product.Problem
	if !isProblem {
		found = checkEndpoints(ctx, c.Spec.External, user, password)
	}
	ready, serves := externalConditions(c.Spec.External, problem, found)
	c.Status.Ready = externalReady(c.Spec.External, found)
	set(c, ready, serves)
	return ctrl.Result{RequeueAfter: externalPeriod}, nil
}

// login reads the login that the Secret has; both are empty if none is asked for.
func (r *Reconciler) login(ctx context.Context, c *v1alpha1.CodisCoordinator) (user, password string, err error) {
	if c.Spec.AuthSecretRef == nil {
		return "", "", nil
	}
	return product.Login(ctx, r.Reader, c.Namespace, c.Spec.AuthSecretRef.Name)
}

// checkEndpoints looks at all endpoints at once; nil stands for one without a problem.
func checkEndpoints(ctx context.Context, e *v1alpha1.ExternalStore, user, password string) []*product.Problem {
	found := make([]*product.Problem, len(e.Endpoints))
	var asked sync.WaitGroup
	for i, endpoint := range e.Endpoints {
		asked.Go(func() {
			if e.Kind == v1alpha1.StoreZooKeeper {
				found[i] = checkZooKeeper(ctx, endpoint)
				return
			}
			found[i] = checkEtcd(ctx, etcd.Client{Addr: endpoint, User: user, Password: password})
		})
	}
	asked.Wait()
	return found
}

// checkEtcd tells apart what does not answer, what has no v2 API and what does
// not take the login.
func checkEtcd(ctx context.Context, c etcd.Client) *product.Problem {
	version, err := c.Version(ctx)
	if err != nil {
		return unreachable(c.Addr, err)
	}
	err = c.ReadKeys(ctx)
	switch {
	case err == nil:
		return nil
	case etcd.IsRefused(err, 401):
		return &product.Problem{Reason: v1alpha1.ReasonLoginRefused, Message: fmt.Sprintf(
			"etcd at %s does not take the login: name a Secret with username and password in authSecretRef, or correct it",
			c.Addr)}
	case etcd.IsRefused(err, 404) && newerThanV2(version):
		return &product.Problem{Reason: v1alpha1.ReasonAPIMissing, Message: fmt.Sprintf(
			"etcd at %s is version %s, which has no v2 API, the only one that Codis speaks: use etcd up to 3.5",
			c.Addr, version)}
	case etcd.IsRefused(err, 404):
		return &product.Problem{Reason: v1alpha1.ReasonAPIMissing, Message: fmt.Sprintf(
			"etcd at %s is version %s with its v2 API off, the only one that Codis speaks: start it with --enable-v2",
			c.Addr, version)}
	}
	return &product.Problem{Reason: v1alpha1.ReasonEndpointUnreachable, Message: fmt.Sprintf(
		"etcd at %s does not serve: %s", c.Addr, err)}
}

// newerThanV2 tells whether a version of etcd was made without the v2 API.
func newerThanV2(version string) bool {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major > 3 || major == 3 && minor >= 6)
}

func unreachable(addr string, err error) *product.Problem {
	return &product.Problem{Reason: v1alpha1.ReasonEndpointUnreachable, Message: fmt.Sprintf(
		"%s does not answer the operator: %s; correct external.endpoints, or let the operator through", addr, cause(err))}
}

// cause leaves out of an error what differs from one try to the next.
func cause(err error) string {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "no answer in time"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "no such host " + dns.Name
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}

// checkZooKeeper asks with the one four-letter word that is allowed by default.
func checkZooKeeper(ctx context.Context, addr string) *product.Problem {
	ctx, cancel := context.WithTimeout(ctx, etcd.DefaultTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return unreachable(addr, err)
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return unreachable(addr, err)
		}
	}
	if _, err := conn.Write([]byte("srvr")); err != nil {
		return unreachable(addr, err)
	}
	said, err := io.ReadAll(io.LimitReader(conn, 4096))
	switch {
	case err != nil:
		return unreachable(addr, err)
	case strings.Contains(string(said), "not currently serving"):
		return &product.Problem{Reason: v1alpha1.ReasonQuorumLost, Message: "ZooKeeper at " + addr + " has no quorum"}
	case strings.Contains(string(said), "Zookeeper version:") || strings.Contains(string(said), "not in the whitelist"):
		return nil
	}
	return &product.Problem{Reason: v1alpha1.ReasonAPIMissing, Message: "what answers at " + addr + " is no ZooKeeper"}
}

// externalConditions words what was found. It is pure. The store serves while
// one endpoint does; it is ready when all do.
func externalConditions(
	e *v1alpha1.ExternalStore, secret *product.Problem, found []*product.Problem,
) (ready, serves conditions.Condition) {
	const t = v1alpha1.ConditionReady
	if secret != nil {
		ready = conditions.False(t, secret.Reason, secret.Message)
		return ready, available(ready)
	}
	ready = conditions.True(t, v1alpha1.ReasonReady, fmt.Sprintf("%s at %s serves; the operator only looks at it",
		e.Kind, strings.Join(e.Endpoints, ", ")))
	serves = conditions.False(v1alpha1.ConditionAvailable, "", "")
	for _, problem := range found {
		switch {
		case problem == nil:
			serves = conditions.True(v1alpha1.ConditionAvailable, v1alpha1.ReasonReady, "an endpoint serves")
		case ready.Reason == v1alpha1.ReasonReady:
			ready = conditions.False(t, problem.Reason, problem.Message)
		default:
			ready.Message += "; " + problem.Message
		}
	}
	if serves.Reason == "" {
		serves = available(ready)
	}
	return ready, serves
}

func externalReady(e *v1alpha1.ExternalStore, found []*product.Problem) string {
	serving := 0
	for _, problem := range found {
		if problem == nil {
			serving++
		}
	}
	return fmt.Sprintf("%d/%d", serving, len(e.Endpoints))
}
