package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// record is what the server said about a key.
type record struct {
	Key        string `json:"key"`
	Value      string `json:"value"`
	Expiration string `json:"expiration"`
	Modified   uint64 `json:"modifiedIndex"`
}

// same reports whether r is what was acknowledged. Each time the server was down has
// moved the expiration of a key with a TTL, and only forward.
func (r record) same(acked record) bool {
	moved := (r.Expiration == "") == (acked.Expiration == "") && r.Expiration >= acked.Expiration[:min(len(acked.Expiration), len("2006-01-02T15:04:05"))]
	r.Expiration, acked.Expiration = "", ""
	return moved && r == acked
}

// fate is all that may be true of a key: what was acknowledged last, or, when the
// server died before it answered, what was asked of it then.
type fate struct {
	acked   *record // nil: the key is absent
	pending *asked  // nil: every request was answered
}

// asked is a write that was sent and not answered.
type asked struct{ value string } // empty: a delete

// writer writes to keys of its own, one request after the other.
type writer struct {
	name    string
	rand    *rand.Rand
	fates   map[string]*fate
	acked   int
	last    uint64 // highest index in an answer
	serial  int
	refused []error
}

func newWriter(id int, r *rand.Rand) *writer {
	w := &writer{name: "w" + strconv.Itoa(id), rand: r, fates: map[string]*fate{}}
	for i := range keysPerWriter {
		w.fates[fmt.Sprintf("/crash/%s/k%02d", w.name, i)] = &fate{}
	}
	return w
}

// write sends requests until the server is gone.
func (w *writer) write(base string) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for {
		key := fmt.Sprintf("/crash/%s/k%02d", w.name, w.rand.IntN(keysPerWriter))
		f := w.fates[key]
		req, ask, err := w.request(base, key, f.acked)
		if err != nil {
			w.refused = append(w.refused, err)
			return
		}
		f.pending = &ask
		status, got, err := send(client, req)
		if err != nil {
			return // killed: the fate of this key stays open
		}
		f.pending = nil
		if status/100 != 2 {
			w.refused = append(w.refused, fmt.Errorf("%s %s: status %d", req.Method, key, status))
			return
		}
		w.acked++
		w.last = max(w.last, got.Modified)
		f.acked = &got
		if ask.value == "" {
			f.acked = nil
		}
	}
}

// request chooses what to do to a key that is in a known state: set it, set it for
// a long time, swap it, or delete it.
func (w *writer) request(base, key string, now *record) (*http.Request, asked, error) {
	w.serial++
	value := w.name + "-" + strconv.Itoa(w.serial)
	target := base + "/v2/keys" + key
	form := url.Values{"value": {value}}
	kind := w.rand.IntN(8)
	switch {
	case kind == 0 && now != nil:
		req, err := http.NewRequest(http.MethodDelete, target, nil)
		return req, asked{}, err
	case kind == 1:
		form.Set("ttl", strconv.Itoa(1000+w.rand.IntN(1000)))
	case kind == 2 && now != nil:
		target += "?prevIndex=" + strconv.FormatUint(now.Modified, 10)
	}
	req, err := http.NewRequest(http.MethodPut, target, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, asked{value: value}, err
}

// send returns the status and the node of the answer. An error means that there
// was no complete answer.
func send(client *http.Client, req *http.Request) (int, record, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, record{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, record{}, err
	}
	var event struct {
		Node  record `json:"node"`
		Cause string `json:"cause"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return 0, record{}, err
	}
	if strings.Contains(event.Cause, "server stopped") {
		return 0, record{}, errors.New("the server is going away")
	}
	return resp.StatusCode, event.Node, nil
}
