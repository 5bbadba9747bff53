package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"etcd2/membership"
)

const (
	// askBytesMax bounds a question and its answer.
	askBytesMax = 16 << 20
	// askWait is how long an answer may take when the context sets no deadline.
	askWait = time.Minute
	// statusAnswered is the status of an error that is the answer, so that it
	// is never taken for one on the way.
	statusAnswered = http.StatusUnprocessableEntity
)

// AskError is an error that the asked member gave as its answer.
type AskError struct{ Text string }

func (e *AskError) Error() string { return e.Text }

// Ask asks another member and waits for its answer. An *AskError is what
// Receiver.Answer of that member returned. After any other error the question may
// have arrived or not. Questions are rare: each is a connection of its own.
func (t *Transport) Ask(ctx context.Context, to membership.ID, question string, body []byte) ([]byte, error) {
	l := t.link(to)
	if l == nil {
		return nil, fmt.Errorf("%w %s", ErrUnknown, to)
	}
	return t.ask(ctx, l, question, body, false)
}

// ask is Ask. With proof the answer has to show that it is from a member that was met.
func (t *Transport) ask(ctx context.Context, l *link, question string, body []byte, proof bool) ([]byte, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	c := call{
		method: http.MethodPost, path: "/raft/ask/" + url.PathEscape(question), header: t.header(l.id), length: int64(len(body)),
		to: l.id, proof: proof,
	}
	c.body = func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	}
	wait := askWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = time.Until(deadline)
	}
	var answer []byte
	err := t.request(ctx, l.targets(), wait, c, func(a *answered) (err error) {
		answer, err = readAll(a.Body)
		return err
	})
	var r *refusal
	if errors.As(err, &r) && r.status == statusAnswered {
		return nil, &AskError{r.text}
	}
	t.judge(l.id, err)
	return answer, err
}

// readAll reads the whole of a question or an answer.
func readAll(r io.Reader) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(r, askBytesMax+1))
	if err == nil && len(all) > askBytesMax {
		return nil, fmt.Errorf("peer: more than %d bytes", askBytesMax)
	}
	return all, err
}

// serveAsk answers what other members Ask.
func (t *Transport) serveAsk(w http.ResponseWriter, r *http.Request) {
	from, ctx, done, ok := t.accept(w, r, http.MethodPost)
	if !ok {
		return
	}
	defer done()
	body, err := readAll(t.body(w, r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	question := strings.TrimPrefix(r.URL.Path, "/raft/ask/")
	if question == questionMember {
		_, _ = w.Write(t.answerMember(body))
		return
	}
	answer, err := t.member.Answer(ctx, from, question, body)
	if err != nil {
		http.Error(w, err.Error(), statusAnswered)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(answer)
}

// body is the body of a request, whose sender may not be silent for too long.
func (t *Transport) body(w http.ResponseWriter, r *http.Request) io.Reader {
	control := http.NewResponseController(w)
	return readerFunc(func(b []byte) (int, error) {
		// A connection without deadlines, as in some tests, is read without.
		_ = control.SetReadDeadline(time.Now().Add(t.cfg.Silence))
		n, err := r.Body.Read(b)
		if err != nil {
			// Behind its request the sender may be silent as long as it likes.
			_ = control.SetReadDeadline(time.Time{})
		}
		return n, err
	})
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Version asks a member, at its peer URLs in turn, for the version of its server
// and of its cluster. A member that does not know the question is of the oldest
// version. The member need not be one that Set has named.
func (t *Transport) Version(ctx context.Context, m membership.Member) (server, cluster string, err error) {
	err = errNoURLs
	for _, target := range m.PeerURLs {
		server, cluster, err = t.versionAt(ctx, m.ID, target)
		if err == nil {
			return server, cluster, nil
		}
		if ctx.Err() != nil {
			return "", "", err
		}
		if t.seldom.ok("reach " + target) {
			t.log.Warn(fmt.Sprintf("failed to reach the peerURL(%s) of member %s (%v)", target, m.ID, err))
		}
	}
	if t.seldom.ok("version of " + m.ID.String()) {
		t.log.Warn(fmt.Sprintf("cannot get the version of member %s (%v)", m.ID, err))
	}
	return "", "", err
}

// versionAt asks for the versions at one URL.
func (t *Transport) versionAt(ctx context.Context, id membership.ID, target string) (server, cluster string, err error) {
	c := call{method: http.MethodGet, path: "/version", header: t.header(id), to: id}
	var told struct{ Server, Cluster string }
	err = t.request(ctx, []string{target}, t.cfg.Silence, c, func(a *answered) error {
		var versions struct {
			Server  string `json:"etcdserver"`
			Cluster string `json:"etcdcluster"`
		}
		err := json.NewDecoder(io.LimitReader(a.Body, headBytesMax)).Decode(&versions)
		told.Server, told.Cluster = versions.Server, versions.Cluster
		return err
	})
	var r *refusal
	if errors.As(err, &r) && r.status == http.StatusNotFound {
		return oldVersion, oldVersion, nil
	}
	return told.Server, told.Cluster, err
}

// membersAt asks a member for its list of members, as it shows it to everybody.
func (t *Transport) membersAt(ctx context.Context, l *link) (ids []membership.ID, err error) {
	c := call{method: http.MethodGet, path: "/members", header: t.header(l.id), to: l.id}
	err = t.request(ctx, l.targets(), t.cfg.Silence, c, func(a *answered) error {
		body, err := readAll(a.Body)
		if err != nil {
			return err
		}
		var list []member
		err = json.Unmarshal(body, &list)
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		return err
	})
	return ids, err
}
