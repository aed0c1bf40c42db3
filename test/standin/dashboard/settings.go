// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"errors"
	"strings"
	"time"

	"github.com/codis-io/codis-operator/test/standin/conf"
	"github.com/codis-io/codis-operator/test/standin/models"
)

// Settings is the content of dashboard.toml.
type Settings struct {
	CoordinatorName string `json:"coordinator_name"`
	CoordinatorAddr string `json:"coordinator_addr"`
	CoordinatorAuth string `json:"coordinator_auth" secret:"yes"`

	AdminAddr   string `json:"admin_addr"`
	ProductName string `json:"product_name"`
	ProductAuth string `toml:"product_auth" json:"-" secret:"yes"`

	MigrationMethod        string        `json:"migration_method"`
	MigrationParallelSlots int           `json:"migration_parallel_slots"`
	MigrationAsyncMaxBulks int           `json:"migration_async_maxbulks"`
	MigrationAsyncMaxBytes conf.Size     `json:"migration_async_maxbytes"`
	MigrationAsyncNumKeys  int           `json:"migration_async_numkeys"`
	MigrationTimeout       conf.Duration `json:"migration_timeout"`

	SentinelClientTimeout        conf.Duration `json:"sentinel_client_timeout"`
	SentinelQuorum               int           `json:"sentinel_quorum"`
	SentinelParallelSyncs        int           `json:"sentinel_parallel_syncs"`
	SentinelDownAfter            conf.Duration `json:"sentinel_down_after"`
	SentinelFailoverTimeout      conf.Duration `json:"sentinel_failover_timeout"`
	SentinelNotificationScript   string        `json:"sentinel_notification_script"`
	SentinelClientReconfigScript string        `json:"sentinel_client_reconfig_script"`
}

// DefaultSettings are the values of keys that a file does not set.
func DefaultSettings() Settings {
	return Settings{
		CoordinatorName: "filesystem",
		CoordinatorAddr: "/tmp/codis",

		AdminAddr:   "0.0.0.0:18080",
		ProductName: "codis-demo",

		MigrationMethod:        "semi-async",
		MigrationParallelSlots: 100,
		MigrationAsyncMaxBulks: 200,
		MigrationAsyncMaxBytes: 32 << 20,
		MigrationAsyncNumKeys:  500,
		MigrationTimeout:       conf.Duration(30 * time.Second),

		SentinelClientTimeout:   conf.Duration(10 * time.Second),
		SentinelQuorum:          2,
		SentinelParallelSyncs:   1,
		SentinelDownAfter:       conf.Duration(30 * time.Second),
		SentinelFailoverTimeout: conf.Duration(5 * time.Minute),
	}
}

func (s *Settings) validate() error {
	checks := []struct {
		ok  bool
		key string
	}{
		{s.CoordinatorName != "", "coordinator_name"},
		{s.CoordinatorAddr != "", "coordinator_addr"},
		{s.AdminAddr != "", "admin_addr"},
		{s.ProductName != "", "product_name"},
		{s.forwardMethod() >= 0, "migration_method"},
		{s.MigrationParallelSlots > 0, "migration_parallel_slots"},
		{s.MigrationAsyncMaxBulks > 0, "migration_async_maxbulks"},
		{s.MigrationAsyncMaxBytes > 0, "migration_async_maxbytes"},
		{s.MigrationAsyncNumKeys > 0, "migration_async_numkeys"},
		{s.MigrationTimeout > 0, "migration_timeout"},
		{s.SentinelClientTimeout > 0, "sentinel_client_timeout"},
		{s.SentinelQuorum > 0, "sentinel_quorum"},
		{s.SentinelParallelSyncs > 0, "sentinel_parallel_syncs"},
		{s.SentinelDownAfter > 0, "sentinel_down_after"},
		{s.SentinelFailoverTimeout > 0, "sentinel_failover_timeout"},
	}
	for _, c := range checks {
		if !c.ok {
			return errors.New("invalid " + c.key)
		}
	}
	return nil
}

func (s *Settings) forwardMethod() int {
	switch strings.ToLower(s.MigrationMethod) {
	case "sync":
		return models.ForwardSync
	case "semi-async":
		return models.ForwardSemiAsync
	}
	return -1
}
