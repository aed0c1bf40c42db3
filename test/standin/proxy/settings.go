// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"reflect"
	"time"

	"github.com/codis-io/codis-operator/test/standin/conf"
)

// Settings is the content of proxy.toml.
type Settings struct {
	ProtoType string `toml:"proto_type" json:"proto_type"`
	ProxyAddr string `toml:"proxy_addr" json:"proxy_addr"`
	AdminAddr string `toml:"admin_addr" json:"admin_addr"`

	JodisName       string        `toml:"jodis_name" json:"jodis_name"`
	JodisAddr       string        `toml:"jodis_addr" json:"jodis_addr"`
	JodisAuth       string        `toml:"jodis_auth" json:"jodis_auth" secret:"yes"`
	JodisTimeout    conf.Duration `toml:"jodis_timeout" json:"jodis_timeout"`
	JodisCompatible bool          `toml:"jodis_compatible" json:"jodis_compatible"`

	ProductName string `toml:"product_name" json:"product_name"`
	ProductAuth string `toml:"product_auth" json:"-" secret:"yes"`
	SessionAuth string `toml:"session_auth" json:"-" secret:"yes"`

	ProxyDataCenter      string    `toml:"proxy_datacenter" json:"proxy_datacenter"`
	ProxyMaxClients      int       `toml:"proxy_max_clients" json:"proxy_max_clients"`
	ProxyMaxOffheapSize  conf.Size `toml:"proxy_max_offheap_size" json:"proxy_max_offheap_size"`
	ProxyHeapPlaceholder conf.Size `toml:"proxy_heap_placeholder" json:"proxy_heap_placeholder"`

	BackendPingPeriod      conf.Duration `toml:"backend_ping_period" json:"backend_ping_period"`
	BackendRecvBufsize     conf.Size     `toml:"backend_recv_bufsize" json:"backend_recv_bufsize"`
	BackendRecvTimeout     conf.Duration `toml:"backend_recv_timeout" json:"backend_recv_timeout"`
	BackendSendBufsize     conf.Size     `toml:"backend_send_bufsize" json:"backend_send_bufsize"`
	BackendSendTimeout     conf.Duration `toml:"backend_send_timeout" json:"backend_send_timeout"`
	BackendMaxPipeline     int           `toml:"backend_max_pipeline" json:"backend_max_pipeline"`
	BackendPrimaryOnly     bool          `toml:"backend_primary_only" json:"backend_primary_only"`
	BackendPrimaryParallel int           `toml:"backend_primary_parallel" json:"backend_primary_parallel"`
	BackendReplicaParallel int           `toml:"backend_replica_parallel" json:"backend_replica_parallel"`
	BackendKeepAlivePeriod conf.Duration `toml:"backend_keepalive_period" json:"backend_keepalive_period"`
	BackendNumberDatabases int           `toml:"backend_number_databases" json:"backend_number_databases"`

	SessionRecvBufsize     conf.Size     `toml:"session_recv_bufsize" json:"session_recv_bufsize"`
	SessionRecvTimeout     conf.Duration `toml:"session_recv_timeout" json:"session_recv_timeout"`
	SessionSendBufsize     conf.Size     `toml:"session_send_bufsize" json:"session_send_bufsize"`
	SessionSendTimeout     conf.Duration `toml:"session_send_timeout" json:"session_send_timeout"`
	SessionMaxPipeline     int           `toml:"session_max_pipeline" json:"session_max_pipeline"`
	SessionKeepAlivePeriod conf.Duration `toml:"session_keepalive_period" json:"session_keepalive_period"`
	SessionBreakOnFailure  bool          `toml:"session_break_on_failure" json:"session_break_on_failure"`

	MetricsReportServer           string        `toml:"metrics_report_server" json:"metrics_report_server"`
	MetricsReportPeriod           conf.Duration `toml:"metrics_report_period" json:"metrics_report_period"`
	MetricsReportInfluxdbServer   string        `toml:"metrics_report_influxdb_server" json:"metrics_report_influxdb_server"`
	MetricsReportInfluxdbPeriod   conf.Duration `toml:"metrics_report_influxdb_period" json:"metrics_report_influxdb_period"`
	MetricsReportInfluxdbUsername string        `toml:"metrics_report_influxdb_username" json:"metrics_report_influxdb_username"`
	MetricsReportInfluxdbPassword string        `toml:"metrics_report_influxdb_password" json:"-" secret:"yes"`
	MetricsReportInfluxdbDatabase string        `toml:"metrics_report_influxdb_database" json:"metrics_report_influxdb_database"`
	MetricsReportStatsdServer     string        `toml:"metrics_report_statsd_server" json:"metrics_report_statsd_server"`
	MetricsReportStatsdPeriod     conf.Duration `toml:"metrics_report_statsd_period" json:"metrics_report_statsd_period"`
	MetricsReportStatsdPrefix     string        `toml:"metrics_report_statsd_prefix" json:"metrics_report_statsd_prefix"`
}

// DefaultSettings are the values of keys that a file does not set.
func DefaultSettings() Settings {
	const second = conf.Duration(time.Second)
	return Settings{
		ProtoType: "tcp4", ProxyAddr: "0.0.0.0:19000", AdminAddr: "0.0.0.0:11080",
		JodisTimeout: 20 * second,
		ProductName:  "codis-demo",

		ProxyMaxClients: 1000, ProxyMaxOffheapSize: 1024 << 20, ProxyHeapPlaceholder: 256 << 20,

		BackendPingPeriod:  5 * second,
		BackendRecvBufsize: 128 << 10, BackendRecvTimeout: 30 * second,
		BackendSendBufsize: 128 << 10, BackendSendTimeout: 30 * second,
		BackendMaxPipeline:     20480,
		BackendPrimaryParallel: 1, BackendReplicaParallel: 1,
		BackendKeepAlivePeriod: 75 * second, BackendNumberDatabases: 16,

		SessionRecvBufsize: 128 << 10, SessionRecvTimeout: 30 * 60 * second,
		SessionSendBufsize: 64 << 10, SessionSendTimeout: 30 * second,
		SessionMaxPipeline: 10000, SessionKeepAlivePeriod: 75 * second,

		MetricsReportPeriod: second, MetricsReportInfluxdbPeriod: second, MetricsReportStatsdPeriod: second,
	}
}

// validate refuses empty addresses, negative numbers, and a proxy without a database.
func (s *Settings) validate() error {
	switch {
	case s.ProtoType == "":
		return errors.New("invalid proto_type")
	case s.ProxyAddr == "":
		return errors.New("invalid proxy_addr")
	case s.AdminAddr == "":
		return errors.New("invalid admin_addr")
	case s.JodisAddr != "":
		return errors.New("jodis_addr: jodis is not in the stand-in")
	case s.ProductName == "":
		return errors.New("invalid product_name")
	case s.BackendNumberDatabases < 1:
		return errors.New("invalid backend_number_databases")
	}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if v.Field(i).CanInt() && v.Field(i).Int() < 0 {
			return errors.New("invalid " + v.Type().Field(i).Tag.Get("toml"))
		}
	}
	return nil
}
