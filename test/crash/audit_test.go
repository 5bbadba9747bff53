package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"etcd2/test/proc"
)

// auditor compares what a restarted server serves with what was acknowledged.
type auditor struct {
	member *proc.Member
	index  uint64 // highest etcd index seen
}

// check compares all keys of the crew, settles what was open, and looks at the
// index and at one event of the history.
func (a *auditor) check(crew []*writer) error {
	found, index, err := a.read()
	if err != nil {
		return err
	}
	for _, w := range crew {
		a.index = max(a.index, w.last)
	}
	if index < a.index {
		return fmt.Errorf("the etcd index went back from %d to %d", a.index, index)
	}
	a.index = index
	known := 0
	for _, w := range crew {
		for key, f := range w.fates {
			got, there := found[key]
			if there {
				known++
			}
			if err := f.settle(got, there); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	if known != len(found) {
		return fmt.Errorf("%d keys are there, %d of them are known", len(found), known)
	}
	return a.history(crew)
}

// settle compares one key with its fate and turns an open fate into a known one.
func (f *fate) settle(got record, there bool) error {
	p := f.pending
	f.pending = nil
	switch {
	case f.acked == nil && !there, f.acked != nil && there && got.same(*f.acked):
		return nil
	case p != nil && there && p.value != "" && got.Value == p.value:
		f.acked = &got
		return nil
	case p != nil && !there && p.value == "":
		f.acked = nil
		return nil
	}
	return fmt.Errorf("is %+v (there: %v); acknowledged was %+v, unanswered %+v", got, there, f.acked, p)
}

// read returns all keys below /crash and the etcd index.
func (a *auditor) read() (map[string]record, uint64, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Get(a.member.URL() + "/v2/keys/crash?recursive=true")
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, err
	}
	index, err := strconv.ParseUint(resp.Header.Get("X-Etcd-Index"), 10, 64)
	if err != nil {
		return nil, 0, err
	}
	type node struct {
		record
		Nodes []node `json:"nodes"`
		Dir   bool   `json:"dir"`
	}
	var event struct {
		Node node `json:"node"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, 0, err
	}
	found := map[string]record{}
	var walk func(n node)
	walk = func(n node) {
		if !n.Dir && n.Key != "" {
			found[n.Key] = n.record
		}
		for _, c := range n.Nodes {
			walk(c)
		}
	}
	walk(event.Node)
	return found, index, nil
}

// history asks for the event of the last acknowledged write by its index: history
// survives a crash like the tree does.
func (a *auditor) history(crew []*writer) error {
	var last *record
	for _, w := range crew {
		for _, f := range w.fates {
			if f.acked != nil && (last == nil || f.acked.Modified > last.Modified) {
				last = f.acked
			}
		}
	}
	if last == nil {
		return nil
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	req, err := http.NewRequest(http.MethodGet,
		a.member.URL()+"/v2/keys"+last.Key+"?wait=true&waitIndex="+strconv.FormatUint(last.Modified, 10), nil)
	if err != nil {
		return err
	}
	status, got, err := send(client, req)
	if err != nil {
		return fmt.Errorf("the event of index %d: %w", last.Modified, err)
	}
	if status != http.StatusOK || !got.same(*last) {
		return fmt.Errorf("the event of index %d is %+v (status %d), acknowledged was %+v", last.Modified, got, status, *last)
	}
	return nil
}
