// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package coordinator

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/codis-io/codis-operator/apis/v1alpha1"
)

// etcdServer answers as an etcd of a version does; keys serves the v2 API.
func etcdServer(t *testing.T, version string, keys http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"etcdserver":%q,"etcdcluster":"3.5.0"}`, version)
	})
	if keys != nil {
		mux.HandleFunc("/v2/keys/", keys)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func root(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, `{"action":"get","node":{"dir":true}}`)
}

func withLogin(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user == "codis" && password == "right" {
		root(w, r)
		return
	}
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintln(w, `{"errorCode":110,"message":"The request requires user authentication","cause":"Insufficient credentials"}`)
}

// withNarrowLogin is an etcd whose login is for what Codis keeps only.
func withNarrowLogin(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user == "codis" && password == "right" && strings.HasPrefix(r.URL.Path, "/v2/keys/codis3/") {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, `{"errorCode":100,"message":"Key not found","cause":"/codis3","index":13}`)
		return
	}
	withLogin(w, &http.Request{})
}

// talker answers whatever it is asked with a text.
func talker(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(conn, make([]byte, 4)); err == nil {
				fmt.Fprint(conn, text)
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestExternalSaysWhatIsWrong(t *testing.T) {
	const etcdKind, zkKind = v1alpha1.StoreEtcd, v1alpha1.StoreZooKeeper
	login := map[string]string{"username": "codis", "password": "right"}
	tests := map[string]struct {
		kind      v1alpha1.StoreKind
		endpoints []string
		secret    map[string]string
		ready     string
		serves    string
		says      string
	}{
		"an etcd with the v2 API": {etcdKind, []string{etcdServer(t, "3.5.21", root)}, nil, "True Ready", "True Ready", "serves"},
		"an etcd that has no v2 API any more": {
			etcdKind,
			[]string{etcdServer(t, "3.6.1", nil)},
			nil,
			"False APIMissing", "False APIMissing", "is version 3.6.1, which has no v2 API, the only one that Codis speaks: use etcd up to 3.5",
		},
		"an etcd with its v2 API off": {
			etcdKind,
			[]string{etcdServer(t, "3.5.21", nil)},
			nil,
			"False APIMissing", "False APIMissing", "start it with --enable-v2",
		},
		"an etcd that asks for a login": {
			etcdKind, []string{etcdServer(t, "3.5.21", withLogin)}, nil, "False LoginRefused", "False LoginRefused", "authSecretRef",
		},
		"an etcd that is given it": {
			etcdKind, []string{etcdServer(t, "3.5.21", withLogin)}, login, "True Ready", "True Ready", "serves",
		},
		"a login for the keys of Codis only": {
			etcdKind, []string{etcdServer(t, "3.5.21", withNarrowLogin)}, login, "True Ready", "True Ready", "serves",
		},
		"a Secret that does not exist": {
			etcdKind, []string{etcdServer(t, "3.5.21", root)}, map[string]string{}, "False SecretMissing", "False SecretMissing", "create it",
		},
		"nobody there": {
			etcdKind, []string{nobody(t)}, nil, "False EndpointUnreachable", "False EndpointUnreachable", "connection refused",
		},
		"one of two answers": {
			etcdKind, []string{nobody(t), etcdServer(t, "3.5.21", root)}, nil, "False EndpointUnreachable", "True Ready", "connection refused",
		},
		"two that are wrong in two ways": {
			etcdKind,
			[]string{nobody(t), etcdServer(t, "3.6.1", nil)},
			nil,
			"False EndpointUnreachable", "False EndpointUnreachable", "; etcd at 127.0.0.1:",
		},
		"no etcd at all": {etcdKind, []string{talker(t, "hello")}, nil, "False EndpointUnreachable", "False EndpointUnreachable", ""},
		"a ZooKeeper": {
			zkKind, []string{talker(t, "Zookeeper version: 3.8.0--1, built on x\nMode: leader\n")}, nil, "True Ready", "True Ready", "serves",
		},
		"a ZooKeeper that allows no questions": {
			zkKind, []string{talker(t, "srvr is not executed because it is not in the whitelist.\n")}, nil, "True Ready", "True Ready", "",
		},
		"a ZooKeeper without a quorum": {
			zkKind,
			[]string{talker(t, "This ZooKeeper instance is not currently serving requests\n")},
			nil,
			"False QuorumLost", "False QuorumLost", "no quorum",
		},
		"no ZooKeeper at all": {zkKind, []string{talker(t, "hello")}, nil, "False APIMissing", "False APIMissing", "no ZooKeeper"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &v1alpha1.CodisCoordinator{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}
			c.Spec.Type = v1alpha1.CoordinatorExternal
			c.Spec.External = &v1alpha1.ExternalStore{Kind: tt.kind, Endpoints: tt.endpoints}
			r := &Reconciler{Reader: reader(t, tt.secret)}
			if tt.secret != nil {
				c.Spec.AuthSecretRef = &v1alpha1.SecretReference{Name: "login"}
			}
			if _, err := r.checkExternal(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			ready, serves := c.Status.Conditions[0], c.Status.Conditions[1]
			if got := string(ready.Status) + " " + ready.Reason; got != tt.ready || !strings.Contains(ready.Message, tt.says) {
				t.Errorf("Ready is %s: %s", got, ready.Message)
			}
			if got := string(serves.Status) + " " + serves.Reason; got != tt.serves {
				t.Errorf("Available is %s: %s", got, serves.Message)
			}
		})
	}
}

// reader has the Secret of the login, unless it is empty.
func reader(t *testing.T, secret map[string]string) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme)
	if len(secret) > 0 {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "login"}, Data: map[string][]byte{}}
		for key, value := range secret {
			s.Data[key] = []byte(value)
		}
		b = b.WithObjects(s)
	}
	return b.Build()
}
