package proc

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// selfTimeout bounds a question to a member that may be paused.
const selfTimeout = time.Second

// Self is what a member says about itself.
type Self struct {
	ID    string `json:"id"` // in hex
	State string `json:"state"`
}

// Leads reports whether the member says that it is the leader.
func (s Self) Leads() bool { return s.State == "StateLeader" }

// Self asks a member about itself. It returns the zero Self when none answers within
// a second.
func (m *Member) Self() Self {
	ctx, cancel := context.WithTimeout(context.Background(), selfTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL()+"/v2/stats/self", nil)
	if err != nil {
		return Self{}
	}
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := h.Do(req)
	if err != nil {
		return Self{}
	}
	defer resp.Body.Close()
	var s Self
	if json.NewDecoder(resp.Body).Decode(&s) != nil {
		return Self{}
	}
	return s
}

// Leader returns the first of the members that says it leads, or nil.
func Leader(members ...*Member) *Member {
	for _, m := range members {
		if m.Self().Leads() {
			return m
		}
	}
	return nil
}
