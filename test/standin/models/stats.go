// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package models

// OpStats counts one command.
type OpStats struct {
	OpStr        string `json:"opstr"`
	Calls        int64  `json:"calls"`
	Usecs        int64  `json:"usecs"`
	UsecsPercall int64  `json:"usecs_percall"`
	Fails        int64  `json:"fails"`
	RedisErrType int64  `json:"redis_errtype"`
}

// Usage is the raw resource usage of a process.
type Usage struct {
	Utime      int64 `json:"utime"`
	Stime      int64 `json:"stime"`
	Cutime     int64 `json:"cutime"`
	Cstime     int64 `json:"cstime"`
	NumThreads int64 `json:"num_threads"`
	VMSize     int64 `json:"vm_size"`
	VMRss      int64 `json:"vm_rss"`
}

// ProxySentinels is what a proxy knows of its sentinels.
type ProxySentinels struct {
	Servers  []string          `json:"servers,omitempty"`
	Masters  map[string]string `json:"masters,omitempty"`
	Switched bool              `json:"switched,omitempty"`
}

// RedisErrors counts error replies.
type RedisErrors struct {
	Errors int64 `json:"errors"`
}

// ProxyOps counts requests.
type ProxyOps struct {
	Total int64       `json:"total"`
	Fails int64       `json:"fails"`
	Redis RedisErrors `json:"redis"`
	QPS   int64       `json:"qps"`
	Cmd   []*OpStats  `json:"cmd,omitempty"`
}

// ProxySessions counts client connections.
type ProxySessions struct {
	Total int64 `json:"total"`
	Alive int64 `json:"alive"`
}

// ProxyRusage is the resource usage of a proxy over the last second.
type ProxyRusage struct {
	Now string  `json:"now"`
	CPU float64 `json:"cpu"`
	Mem int64   `json:"mem"`
	Raw *Usage  `json:"raw,omitempty"`
}

// ProxyBackend says how a proxy reads.
type ProxyBackend struct {
	PrimaryOnly bool `json:"primary_only"`
}

// RuntimeGeneral is the general part of RuntimeStats.
type RuntimeGeneral struct {
	Alloc   uint64 `json:"alloc"`
	Sys     uint64 `json:"sys"`
	Lookups uint64 `json:"lookups"`
	Mallocs uint64 `json:"mallocs"`
	Frees   uint64 `json:"frees"`
}

// RuntimeHeap is the heap part of RuntimeStats.
type RuntimeHeap struct {
	Alloc   uint64 `json:"alloc"`
	Sys     uint64 `json:"sys"`
	Idle    uint64 `json:"idle"`
	Inuse   uint64 `json:"inuse"`
	Objects uint64 `json:"objects"`
}

// RuntimeGC is the garbage collector part of RuntimeStats.
type RuntimeGC struct {
	Num          uint32  `json:"num"`
	CPUFraction  float64 `json:"cpu_fraction"`
	TotalPauseMs uint64  `json:"total_pausems"`
}

// RuntimeStats is the Go runtime of a proxy.
type RuntimeStats struct {
	General       RuntimeGeneral `json:"general"`
	Heap          RuntimeHeap    `json:"heap"`
	GC            RuntimeGC      `json:"gc"`
	NumProcs      int            `json:"num_procs"`
	NumGoroutines int            `json:"num_goroutines"`
	NumCgoCall    int64          `json:"num_cgo_call"`
	MemOffheap    int64          `json:"mem_offheap"`
}

// ProxyStats is what a proxy answers to /proxy/stats.
type ProxyStats struct {
	Online    bool           `json:"online"`
	Closed    bool           `json:"closed"`
	Sentinels ProxySentinels `json:"sentinels"`
	Ops       ProxyOps       `json:"ops"`
	Sessions  ProxySessions  `json:"sessions"`
	Rusage    ProxyRusage    `json:"rusage"`
	Backend   ProxyBackend   `json:"backend"`
	Runtime   *RuntimeStats  `json:"runtime,omitempty"`
}
