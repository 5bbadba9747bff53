package v2

import (
	"strings"
	"testing"
	"time"

	"etcd2/etcdserver"
	"etcd2/membership"
)

func TestAgreement(t *testing.T) {
	const tail = `"checks":0,"divergences":0,"refetches":0}`
	at := time.Date(2026, 11, 20, 21, 0, 0, 0, time.FixedZone("", 3600))
	members := func(of ...etcdserver.Match) map[membership.ID]etcdserver.Match {
		all := map[membership.ID]etcdserver.Match{}
		for i, match := range of {
			all[membership.ID(0xa+i)] = match
		}
		return all
	}
	tests := []struct {
		agreement etcdserver.Agreement
		want      string
		metric    string
	}{
		{etcdserver.Agreement{},
			`{"state":"off","interval":"0s","raftIndex":0,"members":{},"differing":[],` + tail,
			"etcd_agreement_index 0"},
		{etcdserver.Agreement{Interval: 5 * time.Minute},
			`{"state":"unknown","interval":"5m0s","raftIndex":0,"members":{},"differing":[],` + tail,
			"etcd_agreement_refused 0"},
		{etcdserver.Agreement{Interval: time.Minute, Index: 7, Time: at, Members: members(etcdserver.Agrees, etcdserver.Unreachable), Checks: 3},
			`{"state":"agrees","interval":"1m0s","raftIndex":7,"time":"2026-11-20T20:00:00Z","members":{"a":"agrees","b":"unreachable"},"differing":[],"checks":3,"divergences":0,"refetches":0}`,
			"etcd_agreement_checks_total 3"},
		{etcdserver.Agreement{Interval: time.Minute, Index: 7, Members: members(etcdserver.Pending, etcdserver.Unreachable)},
			`{"state":"unknown","interval":"1m0s","raftIndex":7,"members":{"a":"pending","b":"unreachable"},"differing":[],` + tail,
			"etcd_agreement_index 7"},
		{etcdserver.Agreement{Interval: time.Minute, Index: 7, Members: members(etcdserver.Agrees, etcdserver.Differs), Differing: []string{"/1/foo", "/1", "/0/version"}, Divergences: 1},
			`{"state":"differs","interval":"1m0s","raftIndex":7,"members":{"a":"agrees","b":"differs"},"differing":["/foo","/","/0/version"],"checks":0,"divergences":1,"refetches":0}`,
			"etcd_agreement_differing_members 1"},
		{etcdserver.Agreement{Interval: time.Minute, Members: members(etcdserver.Agrees, etcdserver.Excluded), Reasons: map[membership.ID]string{0xb: "it forgot"}},
			`{"state":"agrees","interval":"1m0s","raftIndex":0,"members":{"a":"agrees","b":"refused"},"reasons":{"b":"it forgot"},"differing":[],` + tail,
			"etcd_agreement_index 0"},
		{etcdserver.Agreement{Interval: time.Minute, Members: members(etcdserver.Differs, etcdserver.Differs), Refused: "it differs", Refetches: 2},
			`{"state":"refused","refused":"it differs","interval":"1m0s","raftIndex":0,"members":{"a":"differs","b":"differs"},"differing":[],"checks":0,"divergences":0,"refetches":2}`,
			"etcd_agreement_refused 1"},
	}
	for _, tt := range tests {
		m := newMember(t)
		m.agreement = tt.agreement
		h := Handler(m, Config{})
		w := call(h, "GET", "/v2/stats/agreement", "")
		if w.Code != 200 || w.Body.String() != tt.want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%+v is shown as %d %s, want %s", tt.agreement, w.Code, w.Body, tt.want)
		}
		if page := call(h, "GET", "/metrics", "").Body.String(); !strings.Contains(page, "\n"+tt.metric+"\n") {
			t.Errorf("%+v: /metrics lacks %q", tt.agreement, tt.metric)
		}
	}
}
