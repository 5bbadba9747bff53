package peer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"etcd2/identity"
	"etcd2/membership"
	"etcd2/version"
)

// Cluster is the member's view of its cluster.
type Cluster interface {
	ClusterID() membership.ID
	Members() []membership.Member // ascending by ID
	ClusterVersion() string       // "" until it is decided
}

// addPages adds what the peer port tells everybody.
func addPages(mux *http.ServeMux, c Cluster, who func() identity.Identity) {
	mux.HandleFunc("/members", get(func(w http.ResponseWriter) { writeMembers(w, c, who()) }))
	mux.HandleFunc("/version", get(func(w http.ResponseWriter) { writeVersion(w, c) }))
	mux.HandleFunc("/raft/probing", get(writeProbe))
}

// get refuses every other method.
func get(serve func(http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if only(w, r, http.MethodGet) {
			serve(w)
		}
	}
}

// member is a member as the peer port shows it, with a decimal ID.
type member struct {
	ID         membership.ID `json:"id"`
	PeerURLs   []string      `json:"peerURLs"`
	Name       string        `json:"name,omitempty"`
	ClientURLs []string      `json:"clientURLs,omitempty"`
}

func writeMembers(w http.ResponseWriter, c Cluster, who identity.Identity) {
	list := []member{}
	for _, m := range c.Members() {
		list = append(list, member{m.ID, m.PeerURLs, m.Name, m.ClientURLs})
	}
	w.Header().Set("X-Etcd-Cluster-Id", c.ClusterID().String())
	w.Header().Set(headerIdentity, withheld(who).String()) // members that join need the generation
	writeJSON(w, list)
}

func writeVersion(w http.ResponseWriter, c Cluster) {
	decided := c.ClusterVersion()
	if decided == "" {
		decided = "not_decided"
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"etcdserver":%q,"etcdcluster":%q}`, version.Server, decided)
}

// writeProbe tells the asker that this member lives, and its clock.
func writeProbe(w http.ResponseWriter) {
	writeJSON(w, struct {
		OK  bool
		Now time.Time
	}{true, time.Now()})
}

// writeJSON writes v and a newline. A client that has gone away is no error.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
