// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package rpc is the HTTP convention shared by dashboard and proxy: status 200 with JSON, status 800 with a Cause
// and a Stack, xauth, tokens and announced addresses. It knows no route and no state.
package rpc

import (
	"errors"
	"fmt"
	"runtime"
)

// Frame is one line of a stack.
type Frame struct {
	Name string
	File string
	Line int
}

// RemoteError is the body of an answer with status 800.
type RemoteError struct {
	Cause string
	Stack []Frame
}

// Error returns the cause.
func (e *RemoteError) Error() string { return e.Cause }

type traced struct {
	err   error
	stack []Frame
}

func (e *traced) Error() string { return e.err.Error() }
func (e *traced) Unwrap() error { return e.err }

// Errorf builds an error that remembers its caller.
func Errorf(format string, args ...any) error {
	return &traced{err: fmt.Errorf(format, args...), stack: callers()}
}

// Trace adds the caller to an error that has no stack yet.
func Trace(err error) error {
	if _, ok := errors.AsType[*traced](err); ok || err == nil {
		return err
	}
	return &traced{err: err, stack: callers()}
}

func callers() []Frame {
	var pc [4]uintptr
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc[:])])
	out := make([]Frame, 0, len(pc))
	for {
		f, more := frames.Next()
		if f.Function != "" {
			out = append(out, Frame{Name: f.Function, File: f.File, Line: f.Line})
		}
		if !more {
			return out
		}
	}
}

// NewRemoteError renders an error for an answer; the stack of an error that was not traced is null.
func NewRemoteError(err error) *RemoteError {
	if r, ok := errors.AsType[*RemoteError](err); ok {
		return r
	}
	var stack []Frame
	if t, ok := errors.AsType[*traced](err); ok {
		stack = t.stack
	}
	return &RemoteError{Cause: err.Error(), Stack: stack}
}
