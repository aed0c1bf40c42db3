// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

// Package store keeps the state of products: the key layout, and the clients of the coordinators that hold it. The
// coordinators are the file system, etcd by its v2 API, and ZooKeeper.
package store

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"

	"github.com/codis-io/codis-operator/test/standin/models"
)

// Client is a coordinator: a tree of small persistent values, without leases and without watches.
type Client interface {
	// Create writes a value that must not exist.
	Create(key string, value []byte) error
	// Update writes a value whether or not it exists.
	Update(key string, value []byte) error
	// Delete removes a value; a missing one is no error.
	Delete(key string) error
	// Read returns a value, or nil if there is none.
	Read(key string) ([]byte, error)
	// List returns the full keys directly under key, in order.
	List(key string) ([]string, error)
	// Close ends the client.
	Close() error
}

// Root is the directory of all products.
const Root = "/codis3"

// NewClient opens a coordinator by its upstream name. auth is empty or user:password; files need none.
func NewClient(name, addr, auth string) (Client, error) {
	switch name {
	case "filesystem", "fs":
		return NewFiles(addr)
	case "etcd":
		return NewEtcd(addr, auth)
	case "zookeeper", "zk":
		return NewZooKeeper(addr, auth)
	}
	return nil, fmt.Errorf("invalid coordinator name = %s", name)
}

var productName = regexp.MustCompile(`^\w[\w.\-]*$`)

// ValidateProduct checks a product name.
func ValidateProduct(name string) error {
	if !productName.MatchString(name) {
		return fmt.Errorf("bad product name = %s", name)
	}
	return nil
}

// LockKey is the key whose existence is the lock of a product. It is persistent: a killed dashboard leaves it.
func LockKey(product string) string { return path.Join(Root, product, "topom") }

// Product reads and writes the values of one product.
type Product struct {
	Client Client
	Name   string
}

func (p Product) key(parts ...string) string {
	return path.Join(append([]string{Root, p.Name}, parts...)...)
}

func (p Product) slotKey(id int) string { return p.key("slots", fmt.Sprintf("slot-%04d", id)) }

func (p Product) groupKey(id int) string { return p.key("group", fmt.Sprintf("group-%04d", id)) }

func (p Product) proxyKey(token string) string { return p.key("proxy", "proxy-"+token) }

// Acquire takes the lock, which fails if anybody holds it.
func (p Product) Acquire(t *models.Topom) error {
	b, err := models.Encode(t)
	if err != nil {
		return err
	}
	return p.Client.Create(LockKey(p.Name), b)
}

// Release deletes the lock, whoever holds it.
func (p Product) Release() error { return p.Client.Delete(LockKey(p.Name)) }

// Topom reads the lock, or returns nil.
func (p Product) Topom() (*models.Topom, error) { return load[models.Topom](p.Client, LockKey(p.Name)) }

// Slot reads one mapping, or returns nil.
func (p Product) Slot(id int) (*models.SlotMapping, error) {
	return load[models.SlotMapping](p.Client, p.slotKey(id))
}

// SaveSlot writes one mapping.
func (p Product) SaveSlot(m *models.SlotMapping) error { return p.save(p.slotKey(m.ID), m) }

// Group reads one group, or returns nil.
func (p Product) Group(id int) (*models.Group, error) {
	return load[models.Group](p.Client, p.groupKey(id))
}

// Groups reads all groups.
func (p Product) Groups() (map[int]*models.Group, error) {
	all, err := loadAll[models.Group](p.Client, p.key("group"))
	groups := map[int]*models.Group{}
	for _, g := range all {
		groups[g.ID] = g
	}
	return groups, err
}

// SaveGroup writes one group.
func (p Product) SaveGroup(g *models.Group) error { return p.save(p.groupKey(g.ID), g) }

// DeleteGroup removes one group.
func (p Product) DeleteGroup(id int) error { return p.Client.Delete(p.groupKey(id)) }

// Proxy reads one proxy, or returns nil.
func (p Product) Proxy(token string) (*models.Proxy, error) {
	return load[models.Proxy](p.Client, p.proxyKey(token))
}

// Proxies reads all proxies.
func (p Product) Proxies() (map[string]*models.Proxy, error) {
	all, err := loadAll[models.Proxy](p.Client, p.key("proxy"))
	proxies := map[string]*models.Proxy{}
	for _, x := range all {
		proxies[x.Token] = x
	}
	return proxies, err
}

// SaveProxy writes one proxy.
func (p Product) SaveProxy(x *models.Proxy) error { return p.save(p.proxyKey(x.Token), x) }

// DeleteProxy removes one proxy.
func (p Product) DeleteProxy(token string) error { return p.Client.Delete(p.proxyKey(token)) }

// Sentinel reads the sentinel list, or returns nil.
func (p Product) Sentinel() (*models.Sentinel, error) {
	return load[models.Sentinel](p.Client, p.key("sentinel"))
}

// SaveSentinel writes the sentinel list.
func (p Product) SaveSentinel(s *models.Sentinel) error { return p.save(p.key("sentinel"), s) }

func (p Product) save(key string, v any) error {
	b, err := models.Encode(v)
	if err != nil {
		return err
	}
	return p.Client.Update(key, b)
}

func load[T any](c Client, key string) (*T, error) {
	b, err := c.Read(key)
	if err != nil || b == nil {
		return nil, err
	}
	v := new(T)
	return v, json.Unmarshal(b, v)
}

func loadAll[T any](c Client, dir string) ([]*T, error) {
	keys, err := c.List(dir)
	if err != nil {
		return nil, err
	}
	var all []*T
	for _, key := range keys {
		v, err := load[T](c, key)
		if err != nil {
			return nil, err
		}
		if v != nil {
			all = append(all, v)
		}
	}
	return all, nil
}
