// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// follower keeps what a running client prints, a JSON object a line, of which no two are
// alike: each has its time. Its stream comes through the API server, and breaks when that
// is away for long; the client goes on, and what it prints is kept on its node. So the log
// is read anew as soon as it can be, and goes on after the last line that was read before.
// Until then there is an error, and for good where that line is not found.
type follower[T any] struct {
	pod *corev1.Pod
	// open begins to read the log, from its first line.
	open func(ctx context.Context) (io.ReadCloser, error)
	done chan struct{}

	mu    sync.Mutex
	lines []T
	// last is the text of the last line that was read.
	last string
	// broken is why nothing is read that is new; nil while something would be.
	broken error
	// err is what went wrong for good.
	err error
	// stopping tells that the end is wanted.
	stopping bool
}

// follow starts a pod and reads what it prints until it ends.
func follow[T any](ctx context.Context, c *Cluster, pod *corev1.Pod) (*follower[T], error) {
	if err := c.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("create pod: %w", err)
	}
	// The log of a pod without a node is empty, not an error.
	if err := c.waitStarted(ctx, pod); err != nil {
		return nil, err
	}
	// The stream outlives the step of a test that started it.
	return startFollower[T](context.WithoutCancel(ctx), pod, c.log(pod))
}

// log opens the log of a pod from its first line to the end of the pod.
func (c *Cluster) log(pod *corev1.Pod) func(ctx context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		return c.clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	}
}

// startFollower follows a pod that runs, until it ends or the context does.
func startFollower[T any](
	ctx context.Context, pod *corev1.Pod, open func(ctx context.Context) (io.ReadCloser, error),
) (*follower[T], error) {
	f := &follower[T]{pod: pod, open: open, done: make(chan struct{})}
	stream, err := open(ctx)
	if err != nil {
		return nil, fmt.Errorf("follow pod %s: %w", pod.Name, err)
	}
	go f.run(ctx, stream)
	return f, nil
}

func (f *follower[T]) run(ctx context.Context, stream io.ReadCloser) {
	defer close(f.done)
	for stream != nil {
		err := f.read(stream)
		_ = stream.Close() // It is not read any more.
		if errors.Is(err, io.EOF) {
			f.end()
			return
		}
		f.set(func() { f.broken = fmt.Errorf("the log of pod %s broke off: %w", f.pod.Name, err) })
		stream = f.reopen(ctx)
	}
}

// read hears what a stream says, and returns why it says no more: io.EOF if the client
// ended. A line that is cut off is said again by the next stream.
func (f *follower[T]) read(stream io.Reader) error {
	in := bufio.NewReader(stream)
	for {
		text, err := in.ReadString('\n')
		if err == nil || errors.Is(err, io.EOF) {
			f.set(func() { f.hear(strings.TrimSpace(text)) })
		}
		if err != nil {
			return err
		}
	}
}

// hear takes over a line, unless it was read before. It is called with the mutex held.
func (f *follower[T]) hear(text string) {
	if text == "" {
		return
	}
	if f.broken != nil {
		if text == f.last {
			f.broken = nil
		}
		return
	}
	f.last = text
	var line T
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		f.err = errors.Join(f.err, fmt.Errorf("pod %s said %q", f.pod.Name, text))
		return
	}
	f.lines = append(f.lines, line)
}

// reopen returns a stream that begins anew, and none if nobody has the log any more.
func (f *follower[T]) reopen(ctx context.Context) (stream io.ReadCloser) {
	err := until(ctx, "the log of pod "+f.pod.Name, func(ctx context.Context) (bool, error) {
		var err error
		if stream, err = f.open(ctx); apierrors.IsNotFound(err) {
			return false, err
		}
		return err == nil, nil // Whatever it is may pass.
	})
	f.set(func() {
		switch {
		case err != nil:
			f.err, stream = errors.Join(f.err, err), nil
		case f.last == "":
			f.broken = nil // There is nothing to say again.
		}
	})
	return stream
}

// end takes the end of the client in.
func (f *follower[T]) end() {
	f.set(func() {
		switch {
		case f.broken != nil:
			f.err = errors.Join(f.err, fmt.Errorf("pod %s ended, and its log has not what was read before", f.pod.Name))
		case !f.stopping:
			f.err = errors.Join(f.err, fmt.Errorf("pod %s ended by itself", f.pod.Name))
		}
	})
}

func (f *follower[T]) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// all returns what was said so far. After an error there may be more that is not known.
func (f *follower[T]) all() ([]T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clip(f.lines), errors.Join(f.err, f.broken)
}

// stop ends the client as kubectl delete does, and waits for its last word. The log goes
// with the pod, so a stream that broke is waited for first.
func (f *follower[T]) stop(ctx context.Context, c *Cluster, how ...client.DeleteOption) error {
	err := until(ctx, "the log of pod "+f.pod.Name, func(context.Context) (whole bool, _ error) {
		f.set(func() { whole = f.broken == nil || f.err != nil })
		return whole, nil
	})
	if err != nil {
		_, broken := f.all()
		return errors.Join(err, broken)
	}
	f.set(func() { f.stopping = true })
	if err := c.Delete(ctx, f.pod, how...); err != nil {
		return fmt.Errorf("stop pod %s: %w", f.pod.Name, err)
	}
	select {
	case <-f.done:
		_, err := f.all()
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of pod %s: %w", f.pod.Name, ctx.Err())
	}
}
