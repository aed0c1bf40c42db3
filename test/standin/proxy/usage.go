// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"github.com/codis-io/codis-operator/test/standin/models"
)

const (
	clockTick = int64(time.Second) / 100

	// The places of fields in /proc/self/stat, counted behind the name of the program.
	statUtime   = 11
	statThreads = 17
	statVsize   = 20
	statRss     = 21
)

// usageSample is the resource usage of the process over a second.
type usageSample struct {
	now time.Time
	cpu float64
	raw *models.Usage
}

func newUsageSample(now time.Time, seconds float64, before, after *models.Usage) *usageSample {
	if before == nil || after == nil {
		return nil
	}
	busy := after.Utime + after.Stime - before.Utime - before.Stime
	return &usageSample{now: now, cpu: float64(busy) / 1e9 / seconds, raw: after}
}

// readUsage returns nil where there is no /proc.
func readUsage() *models.Usage {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return nil
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) <= statRss {
		return nil
	}
	number := func(i int) int64 {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return &models.Usage{
		Utime: number(statUtime) * clockTick, Stime: number(statUtime+1) * clockTick,
		Cutime: number(statUtime+2) * clockTick, Cstime: number(statUtime+3) * clockTick,
		NumThreads: number(statThreads), VMSize: number(statVsize),
		VMRss: number(statRss) * int64(os.Getpagesize()),
	}
}
