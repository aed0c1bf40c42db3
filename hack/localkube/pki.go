// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// subject is whom a certificate is for: a client, or a server where it has names or addresses.
type subject struct {
	file, name, group string
	dns, ips          []string
}

// writePKI makes all of a cluster's keys and certificates: its own authority, another one for the front proxy (without
// which the aggregation layer, and so metrics-server, does not work), and one certificate for each client and server.
func (c *cluster) writePKI() error {
	own := []subject{{file: "front-proxy-client", name: "front-proxy-client"}}
	err := errors.Join(c.writeAuthority("front-proxy-ca", own), c.writeAuthority("ca", c.subjects()))
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return c.writeKeyPair("sa", key)
}

func (c *cluster) writeAuthority(name string, subjects []subject) error {
	ca, err := newAuthority(name)
	if err != nil {
		return err
	}
	if err := c.writeCertificate(name, ca.certificate.Raw, ca.key); err != nil {
		return err
	}
	for _, s := range subjects {
		der, key, err := ca.sign(s)
		if err != nil {
			return fmt.Errorf("certificate for %s: %w", s.name, err)
		}
		if err := c.writeCertificate(s.file, der, key); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) subjects() []subject {
	subjects := []subject{
		{
			file: "apiserver", name: "kube-apiserver",
			dns: []string{
				"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local",
			},
			ips: []string{c.hostIP(), c.apiServiceIP(), c.loopback(), "127.0.0.1"},
		},
		{file: "apiserver-kubelet-client", name: "kube-apiserver-kubelet-client", group: "system:masters"},
		{file: "admin", name: "kubernetes-admin", group: "system:masters"},
		{file: "provisioner", name: "localkube-provisioner", group: "system:masters"},
		{file: "controller-manager", name: "system:kube-controller-manager"},
		{file: "scheduler", name: "system:kube-scheduler"},
		{file: "kube-proxy", name: "system:kube-proxy"},
	}
	for _, n := range c.nodes() {
		subjects = append(subjects, subject{
			file: n.nodeName(), name: "system:node:" + n.nodeName(), group: "system:nodes",
			dns: []string{n.nodeName()}, ips: []string{n.ip()},
		})
	}
	return subjects
}

func newAuthority(name string) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	request := certificateFor(name, "")
	request.IsCA, request.BasicConstraintsValid = true, true
	request.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, request, request, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	return authority{certificate, key}, err
}

// sign makes a key and a certificate for it.
func (a authority) sign(s subject) (der []byte, key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	request := certificateFor(s.name, s.group)
	request.KeyUsage = x509.KeyUsageDigitalSignature
	request.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	request.DNSNames = s.dns
	for _, ip := range s.ips {
		request.IPAddresses = append(request.IPAddresses, net.ParseIP(ip))
	}
	der, err = x509.CreateCertificate(rand.Reader, request, a.certificate, key.Public(), a.key)
	return der, key, err
}

func certificateFor(name, group string) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // it never fails: it ends the program instead
	subject := pkix.Name{CommonName: name}
	if group != "" {
		subject.Organization = []string{group}
	}
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

func (c *cluster) writeCertificate(file string, der []byte, key *ecdsa.PrivateKey) error {
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := replaceFile(c.pki(file+".crt"), block, 0o644); err != nil {
		return err
	}
	return c.writeKey(file, key)
}

func (c *cluster) writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return replaceFile(c.pki(file+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func (c *cluster) writeKeyPair(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := replaceFile(c.pki(file+".pub"), public, 0o644); err != nil {
		return err
	}
	return c.writeKey(file, key)
}
