// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strings"
)

// XAuth derives the path segment that authenticates a call. For a dashboard the only segment is the product name,
// so it is no secret; for a proxy they are product name, product auth and token.
func XAuth(segments ...string) string {
	var b strings.Builder
	b.WriteString("Codis-XAuth")
	for _, s := range segments {
		fmt.Fprintf(&b, "-[%s]", s)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return fmt.Sprintf("%x", sum[:16])
}

// Token derives the identity of a process from the MAC addresses of its host and its listen addresses: two pods with
// the same list have the same token.
func Token(macs []string, segments ...string) string {
	macs = slices.Clone(macs)
	slices.Sort(macs)
	var b strings.Builder
	fmt.Fprintf(&b, "Codis-Token@%v", macs)
	for _, s := range segments {
		fmt.Fprintf(&b, "-{%s}", s)
	}
	return fmt.Sprintf("%x", md5.Sum([]byte(b.String())))
}

// HostMACs lists the hardware addresses of this host.
func HostMACs() []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	macs := []string{}
	for _, i := range interfaces {
		if a := i.HardwareAddr.String(); a != "" {
			macs = append(macs, a)
		}
	}
	return macs
}
