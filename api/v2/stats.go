package v2

import (
	"encoding/json"
	"net/http"
	"time"
)

// selfJSON is /v2/stats/self.
type selfJSON struct {
	Name       string         `json:"name"`
	ID         string         `json:"id"`
	State      string         `json:"state"`
	StartTime  time.Time      `json:"startTime"`
	LeaderInfo leaderInfoJSON `json:"leaderInfo"`

	RecvCount     uint64  `json:"recvAppendRequestCnt"`
	RecvRate      float64 `json:"recvPkgRate,omitempty"`
	RecvBandwidth float64 `json:"recvBandwidthRate,omitempty"`
	SendCount     uint64  `json:"sendAppendRequestCnt"`
	SendRate      float64 `json:"sendPkgRate,omitempty"`
	SendBandwidth float64 `json:"sendBandwidthRate,omitempty"`
}

type leaderInfoJSON struct {
	Leader    string    `json:"leader"`
	Uptime    string    `json:"uptime"`
	StartTime time.Time `json:"startTime"`
}

// leaderJSON is /v2/stats/leader.
type leaderJSON struct {
	Leader    string                  `json:"leader"`
	Followers map[string]followerJSON `json:"followers"`
}

type followerJSON struct {
	Latency latencyJSON `json:"latency"`
	Counts  countsJSON  `json:"counts"`
}

// latencyJSON is in milliseconds.
type latencyJSON struct {
	Current           float64 `json:"current"`
	Average           float64 `json:"average"`
	StandardDeviation float64 `json:"standardDeviation"`
	Minimum           float64 `json:"minimum"`
	Maximum           float64 `json:"maximum"`
}

type countsJSON struct {
	Fail    uint64 `json:"fail"`
	Success uint64 `json:"success"`
}

func (h *handler) serveSelfStats(w http.ResponseWriter, _ *http.Request) {
	s := h.SelfStats()
	leader := "" // before the first
	if s.Leader != 0 {
		leader = s.Leader.String()
	}
	sendJSON(w, selfJSON{
		Name:      s.Name,
		ID:        s.ID.String(),
		State:     s.State,
		StartTime: s.Start.UTC(),
		LeaderInfo: leaderInfoJSON{
			Leader:    leader,
			Uptime:    time.Since(s.LeaderSince).String(),
			StartTime: s.LeaderSince.UTC(),
		},
		RecvCount:     s.Received.Messages,
		RecvRate:      s.Received.PerSecond,
		RecvBandwidth: s.Received.BytesPerSecond,
		SendCount:     s.Sent.Messages,
		SendRate:      s.Sent.PerSecond,
		SendBandwidth: s.Sent.BytesPerSecond,
	})
}

func (h *handler) serveLeaderStats(w http.ResponseWriter, _ *http.Request) {
	s, leads := h.LeaderStats()
	if !leads {
		sendMessage(w, http.StatusForbidden, "not current leader")
		return
	}
	out := leaderJSON{Leader: s.Leader.String(), Followers: make(map[string]followerJSON, len(s.Followers))}
	for id, f := range s.Followers {
		out.Followers[id.String()] = followerJSON{latencyJSON(f.Latency), countsJSON{f.Fail, f.Success}}
	}
	sendJSON(w, out)
}

func (h *handler) serveStoreStats(w http.ResponseWriter, _ *http.Request) {
	sendJSON(w, h.StoreStats())
}

// sendJSON answers with v. What cannot be written as JSON, an infinite rate, is
// a broken promise of the Server.
func sendJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("v2: statistics: " + err.Error())
	}
	send(w, http.StatusOK, b)
}

// sendMessage sends an error of the endpoints that are not about keys.
func sendMessage(w http.ResponseWriter, code int, text string) {
	b := appendString([]byte(`{"message":`), text)
	send(w, code, append(b, '}'))
}
