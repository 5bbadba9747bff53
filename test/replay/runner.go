package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"etcd2/test/proc"
	"etcd2/test/wire"
)

// Runner runs the steps of one recording against one member.
type Runner struct {
	Facts  *Facts
	Sorted bool         // compare unsorted listings as they came: ours are always in key order
	Extra  []wire.Field // sent with every request

	member *proc.Member
	open   map[string]*wire.Exchange
}

// NewRunner reads the base values of a fresh member.
func NewRunner(m *proc.Member) (*Runner, error) {
	index, err := m.SettledIndex(300 * time.Millisecond)
	if err != nil {
		return nil, err
	}
	f := &Facts{URL: m.URL(), Index: index, Stats: map[string]int64{}}
	_, body, err := wire.Do(m.Client, wire.Request{Method: "GET", Target: "/v2/stats/store"})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &f.Stats); err != nil {
		return nil, fmt.Errorf("/v2/stats/store: %w", err)
	}
	return &Runner{Facts: f, member: m, open: map[string]*wire.Exchange{}}, nil
}

// Close disconnects what the steps left open.
func (r *Runner) Close() {
	for _, x := range r.open {
		x.Close()
	}
}

// Run runs one step. The error says what was wrong with the answer.
func (r *Runner) Run(s Step) error {
	switch {
	case s.Setup != nil:
		return nil
	case s.SleepMS > 0:
		pause(time.Duration(s.SleepMS) * time.Millisecond)
		return nil
	case s.Restart != "":
		return r.restart(s.Restart)
	case s.Request != nil && s.Background != "":
		return r.background(s)
	case s.Request != nil:
		return r.exchange(s)
	}
	name := s.Await + s.Read + s.Silent + s.Close // one of them is set
	x := r.open[name]
	if x == nil {
		return fmt.Errorf("no response is open under the name %q", name)
	}
	within := wire.Patience
	if s.TimeoutMS > 0 {
		within = time.Duration(s.TimeoutMS) * time.Millisecond
	}
	switch {
	case s.Await != "":
		delete(r.open, name)
		defer x.Close()
		body, err := x.All(within)
		if errors.Is(err, wire.ErrTimeout) {
			return err
		}
		return r.compareBody(s.Response, body, x.Sent)
	case s.Read != "":
		body, err := x.Lines(strings.Count(*s.Response.Body, "\n"), within)
		if err != nil {
			return err
		}
		return r.compareBody(s.Response, body, x.Sent)
	case s.Silent != "":
		return x.Silent(time.Duration(s.ForMS) * time.Millisecond)
	default:
		delete(r.open, name)
		x.Close()
		return nil
	}
}

// pause lets real time pass because the recording says so: its next step is about
// what time does to the store.
func pause(d time.Duration) { <-time.After(d) }

func (r *Runner) restart(how string) error {
	if how == "kill" {
		r.member.Kill()
	} else if _, err := r.member.Stop(wire.Patience); err != nil {
		return err
	}
	if err := r.member.Restart(); err != nil {
		return err
	}
	_, err := r.member.SettledIndex(300 * time.Millisecond)
	return err
}

func (r *Runner) background(s Step) error {
	x, err := r.send(s.Request)
	if err != nil {
		return err
	}
	r.open[s.Background] = x
	if err := x.Head(wire.Patience); err != nil {
		return err
	}
	return r.compareHead(s.Response, x)
}

// exchange sends a request as often as the step says and compares each answer.
func (r *Runner) exchange(s Step) error {
	defer func() { r.Facts.K = 0 }()
	for r.Facts.K = range max(s.Repeat, 1) {
		deadline := time.Now().Add(time.Duration(s.UntilMS) * time.Millisecond)
		err := r.once(s)
		for err != nil && time.Now().Before(deadline) {
			pause(100 * time.Millisecond)
			err = r.once(s)
		}
		if err != nil && s.Repeat > 1 {
			return fmt.Errorf("iteration %d: %w", r.Facts.K, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) once(s Step) error {
	x, err := r.send(s.Request)
	if err != nil {
		return err
	}
	defer x.Close()
	if err := x.Head(wire.Patience); err != nil {
		return err
	}
	body, err := x.All(wire.Patience)
	if errors.Is(err, wire.ErrTimeout) {
		return err
	}
	return errors.Join(r.compareHead(s.Response, x), r.compareBody(s.Response, body, x.Sent))
}

// send builds the request of a step and puts it on the wire.
func (r *Runner) send(q *Request) (*wire.Exchange, error) {
	var bad []error
	expand := func(s string) string {
		out, err := r.Facts.Expand(s)
		bad = append(bad, err)
		return out
	}
	encode := func(pairs [][2]string) string {
		var out []string
		for _, p := range pairs {
			out = append(out, url.QueryEscape(expand(p[0]))+"="+url.QueryEscape(expand(p[1])))
		}
		return strings.Join(out, "&")
	}
	w := wire.Request{Method: q.Method, Target: expand(q.Path)}
	if q.RawQuery != nil {
		w.Target += "?" + expand(*q.RawQuery)
	} else if len(q.Query) > 0 {
		w.Target += "?" + encode(q.Query)
	}
	w.Header = append(w.Header, r.Extra...)
	typed := false
	for name, value := range q.Headers {
		typed = typed || strings.EqualFold(name, "Content-Type")
		w.Header = append(w.Header, wire.Field{Name: name, Value: expand(value)})
	}
	if q.RawBody != nil {
		w.Body = []byte(expand(*q.RawBody))
	} else if q.Form != nil {
		w.Body = []byte(encode(q.Form))
		if !typed {
			w.Header = append(w.Header, wire.Field{Name: "Content-Type", Value: "application/x-www-form-urlencoded"})
		}
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return wire.Send(r.member.Client, w)
}

// compareHead compares status and headers.
func (r *Runner) compareHead(want *Response, x *wire.Exchange) error {
	if want == nil {
		return nil
	}
	var bad []error
	if want.Status != 0 && x.Status != want.Status {
		bad = append(bad, fmt.Errorf("status %d, want %d", x.Status, want.Status))
	}
	for name, value := range want.Headers {
		got, there := x.Value(name)
		switch {
		case value == nil && there:
			bad = append(bad, fmt.Errorf("header %s: %q, want none", name, got))
		case value == nil:
		case !there:
			bad = append(bad, fmt.Errorf("header %s is absent, want %q", name, *value))
		default:
			if err := r.Facts.Match(*value, got, x.Sent); err != nil {
				bad = append(bad, fmt.Errorf("header %s: %q, want %q: %w", name, got, *value, err))
			}
		}
	}
	slices.SortFunc(bad, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(bad...)
}

// compareBody compares the body, or the part of a stream that was read.
func (r *Runner) compareBody(want *Response, body []byte, sent time.Time) error {
	if want == nil {
		return nil
	}
	got := strings.ToValidUTF8(string(body), "\uFFFD")
	if want.BodyMode == "sorted-nodes" && !r.Sorted {
		got = sortNodes(got)
	}
	var bad []error
	if want.Body != nil {
		if err := r.Facts.Match(*want.Body, got, sent); err != nil {
			bad = append(bad, fmt.Errorf("body %w\n got  %.1500q\n want %.1500q", err, got, *want.Body))
		}
	}
	for _, piece := range want.Contains {
		if !strings.Contains(got, piece) {
			bad = append(bad, fmt.Errorf("body lacks %q", piece))
		}
	}
	return errors.Join(bad...)
}
