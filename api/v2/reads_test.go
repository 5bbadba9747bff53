package v2

import (
	"strings"
	"testing"
	"time"
)

func TestReadModes(t *testing.T) {
	const never = time.Duration(-1) // no leader was ever heard
	tests := []struct {
		byDefault     string
		age           time.Duration
		method, query string
		want          string // X-Etcd-Read
	}{
		{ReadLocal, 0, "GET", "", ""},
		{ReadLocal, 1, "GET", "maxStale=1s", "local; age=1ms"}, // a bound is rounded up
		{ReadLocal, 12 * time.Millisecond, "HEAD", "maxStale=12ms", "local; age=12ms"},
		{ReadLocal, 999*time.Millisecond + 1, "GET", "maxStale=1s", "local; age=1s"},
		{ReadQuorum, 61234 * time.Millisecond, "GET", "quorum=false", "local; age=1m1.234s"},
		{ReadLocal, 0, "GET", "quorum=false", ""},
		{ReadLocal, never, "HEAD", "", ""},
		{ReadQuorum, never, "GET", "quorum=false", "local; age=unknown"},
		{ReadLocal, time.Minute, "GET", "quorum=true", "quorum; age=0s"},
		{ReadLocal, time.Minute, "HEAD", "quorum=true", ""}, // as 2.3.8
		{ReadLocal, time.Second, "GET", "maxStale=1s", "local; age=1s"},
		{ReadLocal, time.Second + 1, "GET", "maxStale=1s", "quorum; age=0s"},
		{ReadLocal, time.Second + 1, "HEAD", "maxStale=1", "quorum; age=0s"},
		{ReadLocal, 0, "GET", "maxStale=0", "local; age=0s"},
		{ReadLocal, never, "GET", "maxStale=1h", "quorum; age=0s"},
		{ReadLocal, 0, "GET", "maxStale=1h&quorum=true", "quorum; age=0s"},
		{ReadLocal, time.Minute, "GET", "maxStale=1s&quorum=false", "quorum; age=0s"}, // clients say quorum=false unasked
		{ReadQuorum, 0, "GET", "", "quorum; age=0s"},
		{ReadQuorum, 0, "HEAD", "", "quorum; age=0s"},
		{ReadQuorum, 0, "HEAD", "quorum=true", "quorum; age=0s"},
		{ReadQuorum, time.Second, "GET", "quorum=false", "local; age=1s"},
		{ReadQuorum, time.Second, "HEAD", "quorum=false", "local; age=1s"},
		{ReadQuorum, time.Second, "GET", "maxStale=2s", "local; age=1s"},
		{ReadQuorum, time.Second, "GET", "maxStale=1ms", "quorum; age=0s"},
		{ReadLocal, 0, "PUT", "maxStale=1s", ""},
		{ReadQuorum, 0, "DELETE", "", ""},
	}
	for _, tt := range tests {
		m := newMember(t)
		m.age, m.ageless = tt.age, tt.age == never
		h := Handler(m, Config{DefaultRead: tt.byDefault})
		if w := call(h, "PUT", "/v2/keys/dir/a", "value=1"); w.Code != 201 {
			t.Fatal(w.Code)
		}
		for _, key := range []string{"/dir/a", "/dir", "/dir/none"} {
			w := call(h, tt.method, "/v2/keys"+key+"?"+tt.query, "")
			if got := w.Header().Get("X-Etcd-Read"); got != tt.want {
				t.Errorf("default %s, age %v: %s %s?%s = X-Etcd-Read %q, want %q", tt.byDefault, tt.age, tt.method, key, tt.query, got, tt.want)
			}
		}
		want := 0
		if strings.HasPrefix(tt.want, ReadQuorum) {
			want = 3
		}
		if m.agreements != want {
			t.Errorf("default %s, age %v: %s ?%s asked the quorum %d times, want %d", tt.byDefault, tt.age, tt.method, tt.query, m.agreements, want)
		}
	}
}

func TestWatchIsNoRead(t *testing.T) {
	m := newMember(t)
	h := Handler(m, Config{DefaultRead: ReadQuorum})
	call(h, "PUT", "/v2/keys/a", "value=1")
	w := call(h, "GET", "/v2/keys/a?wait=true&waitIndex=4&maxStale=1s", "")
	if _, told := w.Header()["X-Etcd-Read"]; w.Code != 200 || told || m.agreements != 0 {
		t.Errorf("watch = %d, %v, asked the quorum %d times", w.Code, w.Header(), m.agreements)
	}
}

func TestQuorumReadThatFails(t *testing.T) {
	m := newMember(t)
	m.refuses = errNoLeader
	w := call(Handler(m, Config{}), "GET", "/v2/keys/a?maxStale=0.5s&quorum=true", "")
	if w.Code != 500 || w.Header().Get("X-Etcd-Read") != "quorum; age=0s" {
		t.Errorf("GET without a quorum = %d, X-Etcd-Read %q", w.Code, w.Header().Get("X-Etcd-Read"))
	}
}

func TestReadModesAreCounted(t *testing.T) {
	m := newMember(t)
	m.age = time.Second
	h := Handler(m, Config{})
	for _, query := range []string{"", "quorum=false", "quorum=true", "maxStale=1s", "maxStale=2s", "maxStale=3s", "maxStale=0"} {
		call(h, "GET", "/v2/keys/a?"+query, "")
	}
	page := call(h, "GET", "/metrics", "").Body.String()
	for _, line := range []string{
		`etcd_server_reads_total{bounded="false",mode="local"} 2`,
		`etcd_server_reads_total{bounded="false",mode="quorum"} 1`,
		`etcd_server_reads_total{bounded="true",mode="local"} 3`,
		`etcd_server_reads_total{bounded="true",mode="quorum"} 1`,
		`etcd_http_received_total{method="QGET"} 2`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %q", line)
		}
	}
}

func TestUnknownDefaultRead(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Handler took a default for reads that does not exist")
		}
	}()
	Handler(newMember(t), Config{DefaultRead: "leader"})
}
