// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"os"
	"runtime/debug"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// raceStride is how many times less is tried under the race detector, which makes
// everything that much slower.
const raceStride = 16

// few is how many of n variants are tried.
func few(n uint64) uint64 {
	if raceEnabled {
		return (n + raceStride - 1) / raceStride
	}
	return n
}

// silence drops what the Redis client prints about servers that are down.
type silence struct{}

// Printf implements the logger of go-redis.
func (silence) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	goredis.SetLogger(silence{})
	// Worlds are made and thrown away by the hundred, and each is small.
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
