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
	ProtoType string `json:"proto_type"`
	ProxyAddr string `json:"proxy_addr"`
	AdminAddr string `json:"admin_addr"`

	JodisName       string        `json:"jodis_name"`
	JodisAddr       string        `json:"jodis_addr"`
	JodisAuth       string        `json:"jodis_auth" secret:"yes"`
	JodisTimeout    conf.Duration `json:"jodis_timeout"`
	JodisCompatible bool          `json:"jodis_compatible"`

	ProductName string `json:"product_name"`
	ProductAuth string `toml:"product_auth" json:"-" secret:"yes"`
	SessionAuth string `toml:"session_auth" json:"-" secret:"yes"`

	ProxyDataCenter      string    `json:"proxy_datacenter"`
	ProxyMaxClients      int       `json:"proxy_max_clients"`
	ProxyMaxOffheapSize  conf.Size `json:"proxy_max_offheap_size"`
	ProxyHeapPlaceholder conf.Size `json:"proxy_heap_placeholder"`

	BackendPingPeriod      conf.Duration `json:"backend_ping_period"`
	BackendRecvBufsize     conf.Size     `json:"backend_recv_bufsize"`
	BackendRecvTimeout     conf.Duration `json:"backend_recv_timeout"`
	BackendSendBufsize     conf.Size     `json:"backend_send_bufsize"`
	BackendSendTimeout     conf.Duration `json:"backend_send_timeout"`
	BackendMaxPipeline     int           `json:"backend_max_pipeline"`
	BackendPrimaryOnly     bool          `json:"backend_primary_only"`
	BackendPrimaryParallel int           `json:"backend_primary_parallel"`
	BackendReplicaParallel int           `json:"backend_replica_parallel"`
	BackendKeepAlivePeriod conf.Duration `json:"backend_keepalive_period"`
	BackendNumberDatabases int           `json:"backend_number_databases"`

	SessionRecvBufsize     conf.Size     `json:"session_recv_bufsize"`
	SessionRecvTimeout     conf.Duration `json:"session_recv_timeout"`
	SessionSendBufsize     conf.Size     `json:"session_send_bufsize"`
	SessionSendTimeout     conf.Duration `json:"session_send_timeout"`
	SessionMaxPipeline     int           `json:"session_max_pipeline"`
	SessionKeepAlivePeriod conf.Duration `json:"session_keepalive_period"`
	SessionBreakOnFailure  bool          `json:"session_break_on_failure"`

	MetricsReportServer           string        `json:"metrics_report_server"`
	MetricsReportPeriod           conf.Duration `json:"metrics_report_period"`
	MetricsReportInfluxdbServer   string        `json:"metrics_report_influxdb_server"`
	MetricsReportInfluxdbPeriod   conf.Duration `json:"metrics_report_influxdb_period"`
	MetricsReportInfluxdbUsername string        `json:"metrics_report_influxdb_username"`
	MetricsReportInfluxdbPassword string        `toml:"metrics_report_influxdb_password" json:"-" secret:"yes"`
	MetricsReportInfluxdbDatabase string        `json:"metrics_report_influxdb_database"`
	MetricsReportStatsdServer     string        `json:"metrics_report_statsd_server"`
	MetricsReportStatsdPeriod     conf.Duration `json:"metrics_report_statsd_period"`
	MetricsReportStatsdPrefix     string        `json:"metrics_report_statsd_prefix"`
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
			return errors.New("invalid " + v.Type().Field(i).Tag.Get("json"))
		}
	}
	return nil
}
