// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package webhooks

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestCertificateIsWrittenWholeOrNotAtAll(t *testing.T) {
	complete := map[string][]byte{"tls.crt": []byte("certificate"), "tls.key": []byte("key"), "ca.key": []byte("authority")}
	tests := map[string]struct {
		before map[string]string
		data   map[string][]byte
		want   map[string]string
	}{
		"none was made yet":            {nil, nil, map[string]string{}},
		"the first":                    {nil, complete, map[string]string{"tls.crt": "certificate", "tls.key": "key"}},
		"no certificate without a key": {nil, map[string][]byte{"tls.crt": []byte("certificate")}, map[string]string{}},
		"another one": {
			map[string]string{"tls.crt": "old certificate", "tls.key": "old key"},
			complete,
			map[string]string{"tls.crt": "certificate", "tls.key": "key"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			for file, content := range tt.before {
				if err := os.WriteFile(filepath.Join(directory, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := writeCertificate(&corev1.Secret{Data: tt.data}, directory); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, filesIn(t, directory)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if err := writeCertificate(&corev1.Secret{Data: complete}, filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a directory that is missing is not noticed")
	}
}

// filesIn reads all files of a directory.
func filesIn(t *testing.T, directory string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(directory, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = string(content)
	}
	return found
}
