// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package codis

import "context"

// AddSentinel registers a sentinel that answers. It tells neither the sentinel nor the
// proxies anything.
func (d Dashboard) AddSentinel(ctx context.Context, addr string) error {
	return d.put(ctx, nil, "sentinels/add", addr)
}

// RemoveSentinel has a sentinel watch the groups of the product no more, and takes it
// out. It fails if the sentinel does not answer, unless it is known to be gone.
func (d Dashboard) RemoveSentinel(ctx context.Context, addr string, gone bool) error {
	force := "0"
	if gone {
		force = "1"
	}
	return d.put(ctx, nil, "sentinels/del", addr, force)
}

// ResyncSentinels has every sentinel watch every group anew, and tells the proxies
// which sentinels there are. Sentinels forget what they knew and need some seconds to
// find it out again. It fails where the name of one master cannot be resolved, after
// the sentinels were told to watch nothing: be sure that all can.
func (d Dashboard) ResyncSentinels(ctx context.Context) error {
	return d.put(ctx, nil, "sentinels/resync-all")
}
