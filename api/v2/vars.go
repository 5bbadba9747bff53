package v2

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"

	"etcd2/internal/openfiles"
)

// raftJSON is "raft.status" of /debug/vars.
type raftJSON struct {
	ID      string `json:"id"`
	Term    uint64 `json:"term"`
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	Lead    string `json:"lead"`
	State   string `json:"raftState"`
}

// serveVars shows the variables of the process in the layout of package expvar,
// which is not used itself because its variables are those of the whole process
// and not of one server.
func (h *handler) serveVars(w http.ResponseWriter, _ *http.Request) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	st := h.Status()
	fileLimit, _ := openfiles.Limit()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	vars := []struct {
		name  string
		value any
	}{
		{"cmdline", os.Args},
		{"file_descriptor_limit", fileLimit},
		{"memstats", mem},
		{"raft.status", raftJSON{
			ID:      st.ID.String(),
			Term:    st.Term,
			Commit:  st.Commit,
			Applied: st.Applied,
			Lead:    st.Leader.String(),
			State:   st.Role,
		}},
	}
	between := "{\n"
	for _, v := range vars {
		b, err := json.Marshal(v.value)
		if err != nil {
			panic("v2: variable " + v.name + ": " + err.Error())
		}
		fmt.Fprintf(w, "%s%q: %s", between, v.name, b)
		between = ",\n"
	}
	fmt.Fprint(w, "\n}\n")
}
