package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// queueing is the pause after a background request, so that requests queue at the
// server in the order of the file.
const queueing = 150 * time.Millisecond

// Talk runs the turns of one conversation against one member.
type Talk struct {
	member *proc.Member
	bound  Bindings
	open   map[string]*wire.Exchange
}

// NewTalk begins a conversation with a fresh member.
func NewTalk(m *proc.Member) *Talk {
	return &Talk{member: m, bound: Bindings{}, open: map[string]*wire.Exchange{}}
}

// Close disconnects what the turns left open.
func (t *Talk) Close() {
	for _, x := range t.open {
		x.Close()
	}
}

// Run runs one turn. Bindings made by a turn that fails are dropped.
func (t *Talk) Run(u Turn) error {
	was := maps.Clone(t.bound)
	err := t.run(u)
	if err != nil {
		t.bound = was
	}
	return err
}

func (t *Talk) run(u Turn) error {
	switch {
	case u.Setup != nil:
		return nil
	case u.SleepMS > 0:
		pause(time.Duration(u.SleepMS) * time.Millisecond)
		return nil
	case u.Assert != "":
		return t.assert(u.Assert)
	case u.Request != nil && u.Background:
		x, err := t.send(u.Request)
		if err != nil {
			return err
		}
		t.open[u.Name] = x
		pause(queueing)
		return nil
	case u.Request != nil:
		return t.exchange(u)
	}
	name := u.Await + u.Silent + u.Abort // one of them is set
	x := t.open[name]
	if x == nil {
		return fmt.Errorf("no request is waiting under the name %q", name)
	}
	if u.Silent != "" {
		// A long poll answers its head at once; its body is what must not come.
		if err := x.Head(time.Duration(u.ForMS) * time.Millisecond); errors.Is(err, wire.ErrTimeout) {
			return nil
		} else if err != nil {
			return err
		}
		return x.Silent(time.Duration(u.ForMS) * time.Millisecond)
	}
	delete(t.open, name)
	defer x.Close()
	if u.Abort != "" {
		return nil
	}
	return t.finish(u, x)
}

// exchange sends a request and compares the answer, again and again when the turn
// allows that.
func (t *Talk) exchange(u Turn) error {
	deadline := time.Now().Add(time.Duration(u.UntilMS) * time.Millisecond)
	for {
		x, err := t.send(u.Request)
		if err == nil {
			err = t.finish(u, x)
			x.Close()
		}
		if err == nil || !time.Now().Before(deadline) {
			return err
		}
		pause(100 * time.Millisecond)
	}
}

// finish waits for the whole answer and compares it.
func (t *Talk) finish(u Turn, x *wire.Exchange) error {
	within := wire.Patience
	if u.TimeoutMS > 0 {
		within = time.Duration(u.TimeoutMS) * time.Millisecond
	}
	if x.Header == nil {
		if err := x.Head(within); err != nil {
			return err
		}
	}
	body, err := x.All(within)
	if err != nil {
		return err
	}
	took := time.Since(x.Sent)
	if u.MinMS > 0 && took < time.Duration(u.MinMS)*time.Millisecond || u.MaxMS > 0 && took > time.Duration(u.MaxMS)*time.Millisecond {
		return fmt.Errorf("answered after %v, want %d to %d ms", took, u.MinMS, u.MaxMS)
	}
	if u.Response == nil {
		return nil
	}
	return t.compare(u.Response, x, body)
}

func (t *Talk) compare(want *Answer, x *wire.Exchange, body []byte) error {
	var bad []error
	if want.Status != nil {
		var allowed []int
		if json.Unmarshal(want.Status, &allowed) != nil {
			allowed = make([]int, 1)
			if err := json.Unmarshal(want.Status, &allowed[0]); err != nil {
				return err
			}
		}
		if !slices.Contains(allowed, x.Status) {
			bad = append(bad, fmt.Errorf("status %d, want one of %v", x.Status, allowed))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.Headers)) {
		got, there := x.Value(name)
		pattern := want.Headers[name]
		switch {
		case pattern == nil && there:
			bad = append(bad, fmt.Errorf("header %s: %q, want none", name, got))
		case pattern == nil:
		case !there:
			bad = append(bad, fmt.Errorf("header %s is absent, want %q", name, *pattern))
		default:
			if err := t.bound.Text(*pattern, got); err != nil {
				bad = append(bad, fmt.Errorf("header %s: %w", name, err))
			}
		}
	}
	if want.Body != nil {
		if err := t.bound.JSON(want.Body, body); err != nil {
			bad = append(bad, fmt.Errorf("%w\n got %.1500q", err, body))
		}
	}
	return errors.Join(bad...)
}

func (t *Talk) send(q *Message) (*wire.Exchange, error) {
	var bad []error
	expand := func(s string) string {
		out, err := t.bound.Expand(s)
		bad = append(bad, err)
		return out
	}
	encode := func(e *Encoded) string {
		if e.Pairs == nil {
			return expand(e.Ready)
		}
		var out []string
		for _, p := range e.Pairs {
			out = append(out, url.QueryEscape(p[0])+"="+url.QueryEscape(expand(p[1])))
		}
		return strings.Join(out, "&")
	}
	w := wire.Request{Method: q.Method, Target: expand(q.Path), Body: []byte(expand(q.Body))}
	if q.Query != nil {
		w.Target += "?" + encode(q.Query)
	}
	for name, v := range q.Headers {
		w.Header = append(w.Header, wire.Field{Name: name, Value: expand(v)})
	}
	if q.Form != nil {
		w.Body = []byte(encode(q.Form))
		w.Header = append(w.Header, wire.Field{Name: "Content-Type", Value: "application/x-www-form-urlencoded"})
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return wire.Send(t.member.Client, w)
}

// assert compares two bound numbers.
func (t *Talk) assert(text string) error {
	f := strings.Fields(text)
	if len(f) != 3 {
		return fmt.Errorf("%q is not a comparison", text)
	}
	a, aok := t.bound[f[0]]
	b, bok := t.bound[f[2]]
	if !aok || !bok {
		return fmt.Errorf("%q: not both are bound", text)
	}
	holds, known := map[string]bool{"<": a < b, "<=": a <= b, "==": a == b, "!=": a != b}[f[1]]
	if !known {
		return fmt.Errorf("%q: unknown comparison", text)
	}
	if !holds {
		return fmt.Errorf("%q does not hold: %d, %d", text, a, b)
	}
	return nil
}
