// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codis-io/codis-operator/internal/etcd"
	"github.com/codis-io/codis-operator/internal/roster"
)

// What etcd 3.5.21 answered.
const (
	statusAnswer = `{"header":{"cluster_id":"324952591200643719","member_id":"3319814642761637952","revision":"1",` +
		`"raft_term":"2"},"version":"3.5.21","dbSize":"20480","leader":"3319814642761637952","raftIndex":"20",` +
		`"raftTerm":"2","raftAppliedIndex":"19","dbSizeInUse":"16384"}`
	membersAnswer = `{"header":{"cluster_id":"324952591200643719","member_id":"3319814642761637952","raft_term":"2"},` +
		`"members":[{"ID":"3319814642761637952","name":"only","peerURLs":["http://127.0.0.1:23800"],` +
		`"clientURLs":["http://127.0.0.1:23790"]},{"ID":"7457234913763700483","peerURLs":["http://127.0.0.1:23801"],` +
		`"isLearner":true}]}`
	addAnswer = `{"header":{"cluster_id":"324952591200643719"},"member":{"ID":"7457234913763700483",` +
		`"peerURLs":["http://127.0.0.1:23801"],"isLearner":true},"members":[]}`
	refusal = `{"error":"etcdserver: too many learner members in cluster","code":9,` +
		`"message":"etcdserver: too many learner members in cluster"}`
)

// member is a fake that answers by path, and keeps what it was asked.
type member struct {
	answers map[string]string
	asked   []string
}

func (m *member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m.asked = append(m.asked, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body))
	answer, found := m.answers[r.Method+" "+r.URL.Path]
	if !found {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if answer == refusal {
		w.WriteHeader(http.StatusBadRequest)
	}
	fmt.Fprint(w, answer)
}

func client(t *testing.T, m *member) etcd.Client {
	t.Helper()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return etcd.Client{Addr: server.Listener.Addr().String()}
}

func TestWhatEtcdAnswersIsRead(t *testing.T) {
	c := client(t, &member{answers: map[string]string{
		"POST /v3/maintenance/status":  statusAnswer,
		"POST /v3/cluster/member/list": membersAnswer,
		"POST /v3/cluster/member/add":  addAnswer,
		"POST /v3/maintenance/alarm":   `{"header":{},"alarms":[{"memberID":"3319814642761637952","alarm":"NOSPACE"}]}`,
	}})
	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const only, second = roster.ID(0x2e1259d415f2a040), roster.ID(7457234913763700483)
	want := roster.Status{ClusterID: 324952591200643719, MemberID: only, Leader: only, Index: 20, Applied: 19, Version: "3.5.21"}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Error(diff)
	}
	members, err := c.Members(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	wantMembers := []roster.Member{
		{ID: only, Name: "only", PeerURLs: []string{"http://127.0.0.1:23800"}},
		{ID: second, PeerURLs: []string{"http://127.0.0.1:23801"}, Learner: true},
	}
	if diff := cmp.Diff(wantMembers, members); diff != "" {
		t.Error(diff)
	}
	if members[1].Started() || !members[0].Started() {
		t.Error("a member without a name has not joined yet")
	}
	if m, err := c.AddLearner(t.Context(), "http://127.0.0.1:23801"); err != nil || m.ID != second || !m.Learner {
		t.Errorf("added %+v, %v", m, err)
	}
	alarms, err := c.Alarms(t.Context())
	if diff := cmp.Diff([]roster.Alarm{{MemberID: only, Kind: roster.AlarmNoSpace}}, alarms); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// The peer port writes ids as numbers.
func TestWhatAMemberHeardIsRead(t *testing.T) {
	c := client(t, &member{answers: map[string]string{
		"GET /members": `[{"id":15644467487011137732,"peerURLs":["http://m-0:2380"],"name":"m-0","clientURLs":[]},` +
			`{"id":960030337743261582,"peerURLs":["http://m-1:2380"],"isLearner":true}]`,
	}})
	want := []roster.Member{
		{ID: 0xd91c504a9f7268c4, Name: "m-0", PeerURLs: []string{"http://m-0:2380"}},
		{ID: 0xd52b68176c90f8e, PeerURLs: []string{"http://m-1:2380"}, Learner: true},
	}
	heard, err := c.Heard(t.Context())
	if diff := cmp.Diff(want, heard); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestIDsAreSentAsEtcdWantsThem(t *testing.T) {
	m := &member{answers: map[string]string{
		"POST /v3/cluster/member/list": membersAnswer, "POST /v3/cluster/member/remove": "{}",
		"POST /v3/maintenance/transfer-leadership": "{}", "POST /v3/cluster/member/promote": "{}",
	}}
	c := client(t, m)
	if _, err := c.Members(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for _, act := range []error{
		c.Remove(t.Context(), 10), c.TransferLeadership(t.Context(), 11), c.Promote(t.Context(), 12),
	} {
		if act != nil {
			t.Error(act)
		}
	}
	want := []string{
		`POST /v3/cluster/member/list {"linearizable":false}`,
		`POST /v3/cluster/member/remove {"ID":"10"}`,
		`POST /v3/maintenance/transfer-leadership {"targetID":"11"}`,
		`POST /v3/cluster/member/promote {"ID":"12"}`,
	}
	if diff := cmp.Diff(want, m.asked); diff != "" {
		t.Error(diff)
	}
}

func TestRefusalsKeepTheirWords(t *testing.T) {
	c := client(t, &member{answers: map[string]string{"POST /v3/cluster/member/add": refusal}})
	_, err := c.AddLearner(t.Context(), "x")
	if !etcd.IsRefused(err, http.StatusBadRequest) || err.Error() != "etcdserver: too many learner members in cluster" {
		t.Errorf("got %v", err)
	}
	if _, err := c.Version(t.Context()); !etcd.IsRefused(err, http.StatusNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestFounderIDIsTheOneThatEtcdTakes(t *testing.T) {
	if got := etcd.FounderID("http://127.0.0.1:23800", "etcd-cluster"); got != 0x2e1259d415f2a040 {
		t.Errorf("got %s", got)
	}
}

func TestIDs(t *testing.T) {
	text, err := json.Marshal(roster.ID(18446744073709551615))
	if err != nil || string(text) != `"18446744073709551615"` {
		t.Errorf("%s, %v", text, err)
	}
	var id roster.ID
	if err := json.Unmarshal(text, &id); err != nil || id.String() != "ffffffffffffffff" {
		t.Errorf("%s, %v", id, err)
	}
	if err := json.Unmarshal([]byte(`"-1"`), &id); err == nil {
		t.Error("a negative number is no id")
	}
}
