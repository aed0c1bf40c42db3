// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package framework

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// said is a line of the client in these tests.
type said struct{ N int }

// text is what the client says as its nth line.
func text(n int) string { return fmt.Sprintf("{\"n\":%d}\n", n) }

func followed() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "load"}}
}

// answer is what the API server does when it is asked for the log.
type answer func(w http.ResponseWriter)

// logs says these lines; what is left of a line follows them.
func logs(w http.ResponseWriter, lines []int, left string) {
	for _, n := range lines {
		_, _ = io.WriteString(w, text(n)) // Nobody may be there any more.
	}
	_, _ = io.WriteString(w, left)
	_ = http.NewResponseController(w).Flush()
}

func ends(lines ...int) answer { return func(w http.ResponseWriter) { logs(w, lines, "") } }

func breaks(lines []int, left string) answer {
	return func(w http.ResponseWriter) {
		logs(w, lines, left)
		panic(http.ErrAbortHandler)
	}
}

func fails(status int) answer { return func(w http.ResponseWriter) { w.WriteHeader(status) } }

// apiServer gives these answers, one after the other, to who asks for the log.
func apiServer(t *testing.T, answers []answer) *Cluster {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nth := int(asked.Add(1))
		if r.URL.Path != "/api/v1/namespaces/ns/pods/load/log" || r.URL.Query().Get("follow") != "true" || nth > len(answers) {
			t.Errorf("asked for %s as the %dth time", r.URL, nth)
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answers[nth-1](w)
	}))
	t.Cleanup(server.Close)
	clientset, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{clientset: clientset}
}

func TestAFollowerLosesNothingWithItsStream(t *testing.T) {
	tests := map[string]struct {
		answers []answer
		want    []int
		problem string
	}{
		"it does not break":               {[]answer{ends(1, 2)}, []int{1, 2}, ""},
		"it breaks after a line":          {[]answer{breaks([]int{1, 2}, ""), ends(1, 2, 3)}, []int{1, 2, 3}, ""},
		"it breaks in a line":             {[]answer{breaks([]int{1}, "{\"n"), ends(1, 2, 3)}, []int{1, 2, 3}, ""},
		"it breaks before the first line": {[]answer{breaks(nil, "{"), ends(1, 2)}, []int{1, 2}, ""},
		"it breaks again before it says more": {
			[]answer{breaks([]int{1, 2}, ""), breaks([]int{1}, "{\"n"), breaks([]int{1, 2, 3}, ""), ends(1, 2, 3, 4)},
			[]int{1, 2, 3, 4},
			"",
		},
		"the API server is not well for a while": {
			[]answer{breaks([]int{1}, ""), fails(http.StatusBadGateway), breaks(nil, ""), fails(http.StatusInternalServerError), ends(1, 2)},
			[]int{1, 2},
			"",
		},
		"the log begins with the last line": {[]answer{breaks([]int{1, 2}, ""), ends(2, 3)}, []int{1, 2, 3}, ""},
		"the log begins later":              {[]answer{breaks([]int{1, 2}, ""), ends(4, 5)}, []int{1, 2}, "has not what was read before"},
		"the pod is gone":                   {[]answer{breaks([]int{1, 2}, ""), fails(http.StatusNotFound)}, []int{1, 2}, "could not find"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := startFollower[said](t.Context(), followed(), apiServer(t, tt.answers).log(followed()))
			if err != nil {
				t.Fatal(err)
			}
			f.set(func() { f.stopping = true })
			<-f.done
			lines, err := f.all()
			var got []int
			for _, line := range lines {
				got = append(got, line.N)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if problem := fmt.Sprint(err); (err != nil) != (tt.problem != "") || !strings.Contains(problem, tt.problem) {
				t.Errorf("%v, want %q", err, tt.problem)
			}
		})
	}
}

func TestAClientThatEndsByItselfIsAnError(t *testing.T) {
	f, err := startFollower[said](t.Context(), followed(), apiServer(t, []answer{ends(1)}).log(followed()))
	if err != nil {
		t.Fatal(err)
	}
	<-f.done
	if _, err := f.all(); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("%v", err)
	}
}

// node has the log of a client, and hands it out while the API server is there.
type node struct {
	mu   sync.Mutex
	log  string
	away bool
	// stream is what is being read.
	stream *io.PipeWriter
}

var errAway = errors.New("client connection lost")

func (n *node) open(context.Context) (io.ReadCloser, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return nil, errAway
	}
	out, in := io.Pipe()
	n.stream = in
	all := n.log
	go func() { _, _ = io.WriteString(in, all) }()
	return out, nil
}

// say appends a line, and tells it to who reads.
func (n *node) say(line string) *io.PipeWriter {
	n.mu.Lock()
	n.log += line
	stream := n.stream
	n.mu.Unlock()
	_, _ = io.WriteString(stream, line) // Nobody reads while the API server is away.
	return stream
}

func (n *node) setAway(away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away = away; away {
		_ = n.stream.CloseWithError(errAway)
	}
}

// While the stream is broken nobody may take what is known for all there is, and the
// pod must not be deleted: its log would go with it.
func TestAFollowerWhoseStreamIsBrokenSaysSoAndKeepsThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, deleted := &node{log: text(1)}, atomic.Bool{}
		c := &Cluster{WithWatch: interceptor.NewClient(
			fake.NewClientBuilder().WithObjects(followed()).Build(), interceptor.Funcs{
				Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
					deleted.Store(true)
					return n.say(text(4)).Close()
				},
			})}
		f, err := startFollower[said](t.Context(), followed(), n.open)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.say(text(2))
		synctest.Wait()
		if lines, err := f.all(); err != nil || len(lines) != 2 {
			t.Fatalf("%v, %v", lines, err)
		}
		n.setAway(true)
		n.say(text(3))
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- f.stop(t.Context(), c) }()
		<-time.After(5 * time.Minute) // In no time: the clock is that of synctest.
		if lines, err := f.all(); !errors.Is(err, errAway) || len(lines) != 2 || deleted.Load() {
			t.Errorf("%v, %v, deleted %t", lines, err, deleted.Load())
		}
		n.setAway(false)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		lines, err := f.all()
		if want := []said{{1}, {2}, {3}, {4}}; err != nil || !slices.Equal(lines, want) {
			t.Errorf("%v, %v", lines, err)
		}
	})
}

func TestAPodIsNotDeletedWhoseLogIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{log: text(1)}
		c := &Cluster{WithWatch: fake.NewClientBuilder().WithObjects(followed()).Build()}
		running, end := context.WithCancel(t.Context())
		f, err := startFollower[said](running, followed(), n.open)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.setAway(true)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.stop(ctx, c); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errAway) {
			t.Errorf("%v", err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(followed()), &corev1.Pod{}); err != nil {
			t.Errorf("the pod: %v", err)
		}
		end()
		<-f.done
	})
}
