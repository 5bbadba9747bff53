package proxy

import (
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"
)

// An answer that was overtaken does not take back what is known, while one that
// began later does: that member has begun anew.
func TestEndpointIndex(t *testing.T) {
	for _, tt := range []struct {
		name          string
		known, before uint64
		says          string
		want          uint64
	}{
		{"first", 0, 0, "7", 7},
		{"further", 7, 7, "8", 8},
		{"further, others too", 7, 3, "8", 8},
		{"overtaken", 7, 3, "5", 7},
		{"begun anew", 7, 7, "2", 2},
		{"not told", 7, 7, "", 7},
		{"no number", 7, 7, "many", 7},
	} {
		e := new(endpoint)
		e.index.Store(tt.known)
		e.saw(http.Header{"X-Etcd-Index": {tt.says}}, tt.before)
		if got := e.index.Load(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A list of members does not forget who failed, and leaves out what is no URL.
func TestEndpointsAreListedAgain(t *testing.T) {
	s := newEndpoints(&Config{FailureWait: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	s.Set([]string{"http://a:1", "http://b:1"})
	first := s.Available()
	s.Failed(first[0], errSilent)
	s.Set([]string{"http://c:1", first[0].text, "http://%", first[1].text})
	got := texts(s.Available())
	slices.Sort(got)
	want := []string{first[1].text, "http://c:1"}
	if !slices.Equal(got, want) {
		t.Errorf("available: %v, want %v", got, want)
	}
	if len(s.all) != 3 {
		t.Errorf("%d endpoints, want 3", len(s.all))
	}
}

func TestEndpointsTakeTurns(t *testing.T) {
	first := map[string]bool{}
	s := newEndpoints(&Config{FailureWait: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	for range 100 {
		s.Set([]string{"http://a:1", "http://b:1"})
		first[s.Available()[0].text] = true
	}
	if len(first) != 2 {
		t.Errorf("of two endpoints only %v are ever the first", first)
	}
}
