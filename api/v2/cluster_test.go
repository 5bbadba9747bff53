package v2

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"etcd2/store"
)

func TestEndpoints(t *testing.T) {
	well := newMember(t)
	refused := newMember(t)
	refused.unready = &store.Error{Code: store.RaftInternal, Cause: "the data differs"}
	bad := newMember(t)
	bad.sick, bad.unready, bad.follows, bad.version = errNoLeader, errNoLeader, true, ""
	tests := []struct {
		member      *member
		target      string
		status      int
		contentType string // "" when left to net/http
		body        string
	}{
		{well, "/version", 200, "application/json", `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`},
		{well, "/version?a=b", 200, "application/json", `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`},
		{bad, "/version", 200, "application/json", `{"etcdserver":"2.3.8","etcdcluster":"not_decided"}`},
		{well, "/health", 200, "text/plain; charset=utf-8", `{"health": "true"}`},
		{bad, "/health", 503, "text/plain; charset=utf-8", `{"health": "false"}` + "\n"},
		{well, "/livez", 200, "text/plain; charset=utf-8", "ok\n"},
		{bad, "/livez", 200, "text/plain; charset=utf-8", "ok\n"},
		{well, "/readyz", 200, "text/plain; charset=utf-8", "ok\n"},
		{bad, "/readyz", 503, "text/plain; charset=utf-8", "no leader\n"},
		{refused, "/readyz", 503, "text/plain; charset=utf-8", "the data differs\n"},
		{well, "/v2/machines", 200, "text/plain; charset=utf-8", "http://a:2379, http://a:4001, http://b:2379"},
		{well, "/v2/stats/leader", 200, "application/json",
			`{"leader":"ce2a822cea30bfca","followers":{"bf9071f4639c75cc":{"latency":{"current":1,"average":1.5,"standardDeviation":0.25,"minimum":1,"maximum":2},"counts":{"fail":3,"success":4}}}}`},
		{bad, "/v2/stats/leader", 403, "application/json", `{"message":"not current leader"}`},
		{well, "/v2/stats/store", 200, "application/json",
			`{"getsSuccess":0,"getsFail":0,"setsSuccess":3,"setsFail":0,"deleteSuccess":0,"deleteFail":0,"updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,"compareAndSwapSuccess":0,"compareAndSwapFail":0,"compareAndDeleteSuccess":0,"compareAndDeleteFail":0,"expireCount":0,"watchers":0}`},
	}
	for _, tt := range tests {
		w := call(Handler(tt.member, Config{}), "GET", tt.target, "")
		if w.Code != tt.status || w.Body.String() != tt.body || w.Header().Get("Content-Type") != tt.contentType {
			t.Errorf("GET %s = %d %q %q, want %d %q %q", tt.target,
				w.Code, w.Header().Get("Content-Type"), w.Body, tt.status, tt.contentType, tt.body)
		}
	}
}

// Those who ask many members for their health in turns are not kept waiting.
func TestHealthAnswersSoon(t *testing.T) {
	for name, tt := range map[string]struct {
		unled bool
		after time.Duration
	}{"without a leader": {true, 0}, "without a quorum": {false, healthTimeout}} {
		synctest.Test(t, func(t *testing.T) {
			m := newMember(t)
			m.unled, m.unsure = tt.unled, true
			start := time.Now()
			w := call(Handler(m, Config{}), "GET", "/health", "")
			if took := time.Since(start); w.Code != 503 || w.Body.String() != `{"health": "false"}`+"\n" || took != tt.after {
				t.Errorf("%s: GET /health = %d %q after %v, want 503 after %v", name, w.Code, w.Body, took, tt.after)
			}
		})
	}
}

func TestSelfStats(t *testing.T) {
	got := call(Handler(newMember(t), Config{}), "GET", "/v2/stats/self", "").Body.String()
	want := regexp.MustCompile(`^\{"name":"n1","id":"ce2a822cea30bfca","state":"StateFollower","startTime":"2026-11-20T20:00:00\.0000005Z",` +
		`"leaderInfo":\{"leader":"bf9071f4639c75cc","uptime":"-?[0-9hms.]+s","startTime":"2026-11-20T20:00:00\.0000005Z"\},` +
		`"recvAppendRequestCnt":7,"recvPkgRate":1\.5,"recvBandwidthRate":100,"sendAppendRequestCnt":0\}$`)
	if !want.MatchString(got) {
		t.Errorf("GET /v2/stats/self = %s, want %s", got, want)
	}
	m := newMember(t)
	m.unled = true
	if got := call(Handler(m, Config{}), "GET", "/v2/stats/self", "").Body.String(); !strings.Contains(got, `"leaderInfo":{"leader":"","uptime":`) {
		t.Errorf("GET /v2/stats/self before the first leader = %s", got)
	}
}

func TestVars(t *testing.T) {
	w := call(Handler(newMember(t), Config{}), "GET", "/debug/vars", "")
	if got := w.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	body := w.Body.String()
	layout := regexp.MustCompile(`(?s)^\{\n"cmdline": \[.*\],\n"file_descriptor_limit": [0-9]+,\n"memstats": \{.*\},\n"raft.status": \{.*\}\n\}\n$`)
	if !layout.MatchString(body) {
		t.Errorf("layout of /debug/vars: %.300s", body)
	}
	var vars struct {
		Raft raftJSON `json:"raft.status"`
	}
	if err := json.Unmarshal([]byte(body), &vars); err != nil {
		t.Fatal(err)
	}
	if want := (raftJSON{ID: "ce2a822cea30bfca", Term: 2, Commit: 3, Applied: 3, Lead: "ce2a822cea30bfca", State: "StateLeader"}); vars.Raft != want {
		t.Errorf("raft.status = %+v, want %+v", vars.Raft, want)
	}
}

func TestLogLevel(t *testing.T) {
	tests := []struct {
		body    string
		level   slog.Level
		refusal string // "" when taken
	}{
		{`{"Level":"DEBUG"}`, slog.LevelDebug, ""},
		{`{"level":"info"}`, slog.LevelInfo, ""},
		{`{"LEVEL":"Critical"}`, slog.LevelError + 4, ""},
		{`{"Level":"c"}`, slog.LevelError + 4, ""},
		{`{"Level":"0"}`, slog.LevelError, ""},
		{`{"Level":"w"}`, slog.LevelWarn, ""},
		{`{"Level":"NOTICE"}`, slog.LevelInfo + 2, ""},
		{`{"Level":"T"} rest`, slog.LevelDebug - 4, ""},
		{`{"Level":"LOUD"}`, 0, `{"message":"Invalid log level LOUD"}`},
		{`{}`, 0, `{"message":"Invalid log level "}`},
		{`DEBUG`, 0, `{"message":"Invalid json body"}`},
		{``, 0, `{"message":"Invalid json body"}`},
		{`{"Level":3}`, 0, `{"message":"Invalid json body"}`},
	}
	for _, tt := range tests {
		level := new(slog.LevelVar)
		w := httptest.NewRecorder()
		r := httptest.NewRequest("PUT", "/config/local/log", strings.NewReader(tt.body))
		Handler(newMember(t), Config{LogLevel: level}).ServeHTTP(w, r)
		code, contentType := 204, ""
		if tt.refusal != "" {
			code, contentType = 400, "application/json"
		}
		if w.Code != code || w.Body.String() != tt.refusal || w.Header().Get("Content-Type") != contentType || level.Level() != tt.level {
			t.Errorf("PUT %s = %d %q %q, level %s; want %d %q %q, %s", tt.body,
				w.Code, w.Header().Get("Content-Type"), w.Body, level.Level(), code, contentType, tt.refusal, tt.level)
		}
	}
}

func TestPprof(t *testing.T) {
	h := Handler(newMember(t), Config{Pprof: true})
	for target, status := range map[string]int{
		"/debug/pprof":                   200,
		"/debug/pprof/heap":              200,
		"/debug/pprof/goroutine?debug=1": 200,
		"/debug/pprof/cmdline":           200,
		"/debug/pprof/":                  404,
		"/debug/pprof/nothing":           404,
	} {
		if w := call(h, "GET", target, ""); w.Code != status {
			t.Errorf("GET %s = %d, want %d", target, w.Code, status)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := newMember(t)
	metrics := NewMetrics()
	h := Handler(m, Config{Metrics: metrics})
	call(h, "PUT", "/v2/keys/a", "value=1")
	call(h, "PUT", "/v2/keys/a", "value=1&ttl=x") // not parsed: not counted
	call(h, "PUT", "/v2/keys/a/b", "value=1")
	call(h, "GET", "/v2/keys/a", "")
	call(h, "GET", "/v2/keys/nope", "")
	call(h, "GET", "/v2/keys?quorum=true&recursive=true", "")
	call(h, "HEAD", "/v2/keys/a", "")
	call(h, "POST", "/v2/keys/q", "")
	call(h, "DELETE", "/v2/keys/a", "")
	call(h, "GET", "/v2/keys/a?wait=true&waitIndex=4", "")
	metrics.ObserveSync(1e6)
	metrics.ObserveProposal(3e6)
	metrics.ObserveProposalFailed()
	metrics.ObserveCheckpoint(4e6, 50)
	metrics.ObserveToken()
	metrics.ObserveRegistration()
	metrics.ObserveLimit("rate")

	w := call(h, "PUT", "/metrics", "")
	if got := w.Header().Get("Content-Type"); w.Code != 200 || got != "text/plain; version=0.0.4" {
		t.Errorf("PUT /metrics = %d %q, want 200 and no charset", w.Code, got)
	}
	page := "\n" + w.Body.String()
	for _, line := range []string{
		`etcd_http_received_total{method="PUT"} 2`,
		`etcd_http_received_total{method="GET"} 2`,
		`etcd_http_received_total{method="QGET"} 1`,
		`etcd_http_received_total{method="HEAD"} 1`,
		`etcd_http_failed_total{code="400",method="PUT"} 1`,
		`etcd_http_failed_total{code="404",method="GET"} 1`,
		`etcd_http_successful_duration_second_count{method="PUT"} 1`,
		`etcd_http_successful_duration_second_bucket{method="QGET",le="2.048"} 1`,
		`etcd_store_reads_total{action="get"} 3`,
		`etcd_store_reads_total{action="getRecursive"} 1`,
		`etcd_store_writes_total{action="set"} 5`,
		`etcd_store_writes_total{action="create"} 1`,
		`etcd_store_writes_total{action="delete"} 1`,
		`etcd_store_expires_total 0`,
		`etcd_store_watch_requests_total 1`,
		`etcd_store_watchers 0`,
		`etcd_store_history_last_index 6`,
		`etcd_server_proposal_durations_seconds_count 1`,
		`etcd_server_pending_proposal_total 0`,
		`etcd_server_proposal_failed_total 1`,
		`etcd_server_has_leader 1`,
		`etcd_wal_fsync_duration_seconds_sum 0.001`,
		`etcd_checkpoint_duration_seconds_sum 0.004`,
		`etcd_checkpoint_nodes_total 50`,
		`etcd_discovery_tokens_total 1`,
		`etcd_discovery_registrations_total 1`,
		`etcd_discovery_refused_total{limit="rate"} 1`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %q", line)
		}
	}
	for _, name := range []string{"go_goroutines ", "process_open_fds ", "etcd_server_file_descriptors_used_total "} {
		if !strings.Contains(page, "\n"+name) {
			t.Errorf("/metrics lacks %q", name)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestClusterMetrics(t *testing.T) {
	leads, learns := newMember(t), newMember(t)
	leads.age = 1500 * time.Millisecond
	learns.follows, learns.ageless = true, true
	tests := []struct {
		member *member
		lines  []string
		lacks  string
	}{
		{leads, []string{
			`etcd_server_voters 2`,
			`etcd_server_learners 1`,
			`etcd_server_is_learner 0`,
			`etcd_server_age_seconds 1.5`,
			`etcd_peer_connected{peer="2"} 1`,
			`etcd_peer_connected{peer="c0ffee"} 0`,
			`etcd_peer_round_trip_seconds{peer="2"} 0.003`,
			`etcd_peer_clock_difference_seconds{peer="2"} -2`,
			`etcd_peer_sent_appends_total{peer="2"} 10`,
			`etcd_peer_sent_append_bytes_total{peer="2"} 1000`,
			`etcd_peer_received_appends_total{peer="2"} 4`,
			`etcd_peer_received_append_bytes_total{peer="2"} 44`,
			`etcd_peer_send_failures_total{peer="2"} 1`,
		}, "etcd_nothing"},
		{learns, []string{`etcd_server_is_learner 1`}, "etcd_server_age_seconds"},
	}
	for _, tt := range tests {
		page := "\n" + call(Handler(tt.member, Config{}), "GET", "/metrics", "").Body.String()
		for _, line := range tt.lines {
			if !strings.Contains(page, "\n"+line+"\n") {
				t.Errorf("/metrics lacks %q", line)
			}
		}
		if strings.Contains(page, "\n"+tt.lacks+" ") {
			t.Errorf("/metrics has %s", tt.lacks)
		}
	}
}

func TestTwoHandlersShareNothing(t *testing.T) {
	// Metrics of one process must not collide in a registry.
	a, b := Handler(newMember(t), Config{}), Handler(newMember(t), Config{})
	call(a, "PUT", "/v2/keys/a", "")
	if page := call(b, "GET", "/metrics", "").Body.String(); !strings.Contains(page, `etcd_http_received_total{method="PUT"} 0`) {
		t.Error("the second handler counts the first one's requests")
	}
	if _, ok := a.(*handler).Server.(*member).tree.Lookup("/1/a"); !ok {
		t.Error("the write is not in the first member")
	}
}
