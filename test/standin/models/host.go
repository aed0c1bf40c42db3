// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package models

import (
	"bytes"
	"strings"
	"syscall"
)

const (
	// Version is what --version and the overviews print. It names the stand-in and the release it imitates.
	Version = "codis-operator stand-in @3.2.2-12-gde1ad026"
	// Compile takes the place of the build time.
	Compile = "stand-in, not a Codis build"
)

// Sys describes the host the way `uname -a` does.
func Sys() string {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return ""
	}
	fields := []string{
		utsString(u.Sysname[:]), utsString(u.Nodename[:]), utsString(u.Release[:]),
		utsString(u.Version[:]), utsString(u.Machine[:]), "GNU/Linux",
	}
	return strings.Join(fields, " ")
}

func utsString[T int8 | uint8](c []T) string {
	b := make([]byte, len(c))
	for i, x := range c {
		b[i] = byte(x)
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
