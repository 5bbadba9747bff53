package discovery

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"etcd2/store"
)

const (
	// bodyBytesMax is the longest body that is read: any value in any encoding.
	bodyBytesMax = 64 << 10
	// bodyTimeout is how long a body may take to arrive.
	bodyTimeout = 10 * time.Second
	// lastMinute is the end of a token's life, in which nobody can register any more.
	// A write that came after the end would make a directory that never expires.
	lastMinute = time.Minute
)

// Parameters of the keys API by what the service does with them. All others are
// left out, which is what the API itself does with those it does not know.
var (
	getParams    = []string{"recursive", "sorted", "wait", "waitIndex"}
	putParams    = []string{"value", "ttl", "prevExist"}
	deleteParams = []string{"prevValue", "prevIndex"}
	// refusedParams would change what a request does, so they are not just left out.
	refusedParams = []string{"dir", "stream", "prevValue", "prevIndex", "refresh", "noValueOnSuccess"}
)

// serveToken answers a request below a token: it checks it and hands it to the keys
// API, made anew from those of its parts that were understood.
func (s *Service) serveToken(w http.ResponseWriter, r *http.Request, t target, client *client) {
	allowed := "GET,HEAD"
	if t.writable() {
		allowed += ",PUT,DELETE"
	}
	if !slices.Contains(strings.Split(allowed, ","), r.Method) {
		methodNotAllowed(w, allowed)
		return
	}
	if !client.mayAsk() {
		s.cfg.Observe.Refused(LimitRate)
		s.refuse(w, tooBusy("too many requests from "+client.address.Addr().String()))
		return
	}
	form, refused := readForm(w, r)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	switch r.Method {
	case http.MethodPut:
		s.register(w, r, t, form)
	case http.MethodDelete:
		s.pass(w, r, t, form, deleteParams)
	default:
		s.look(w, r, t, form, client)
	}
}

// look answers a get or a wait, or shows the page to a browser.
func (s *Service) look(w http.ResponseWriter, r *http.Request, t target, form url.Values, client *client) {
	waits, _ := strconv.ParseBool(form.Get("wait")) // else the keys API refuses it
	if t.key == "" && !waits {
		w.Header().Add("Vary", "Accept")
		if acceptsHTML(r.Header) {
			s.servePage(w, r, t)
			return
		}
	}
	if !waits {
		form.Set("quorum", "true")
		s.pass(w, r, t, form, append([]string{"quorum"}, getParams...))
		return
	}
	if !client.beginWait() {
		s.cfg.Observe.Refused(LimitWaits)
		s.refuse(w, tooBusy("too many requests from "+client.address.Addr().String()+" wait already"))
		return
	}
	defer client.endWait()
	s.pass(w, r, t, form, getParams)
}

// register lets a member write its key.
func (s *Service) register(w http.ResponseWriter, r *http.Request, t target, form url.Values) {
	if n := len(form.Get("value")); n > s.cfg.ValueBytesMax {
		s.cfg.Observe.Refused(LimitValue)
		s.refuse(w, badValue(fmt.Sprintf("value is longer than %d bytes", s.cfg.ValueBytesMax)))
		return
	}
	release, refused := s.reserveKey(context.WithoutCancel(r.Context()), t)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	defer release()
	answer := &statusOf{ResponseWriter: w}
	s.pass(answer, r, t, form, putParams)
	if answer.status == http.StatusCreated && t.key[0] != '_' {
		s.cfg.Observe.Registered()
		s.cfg.Logger.Info("member registered", "token", t.token[:8]+"…", "key", t.key)
	}
}

// reserveKey keeps a place for a key of a token that lives, until release is called.
func (s *Service) reserveKey(ctx context.Context, t target) (release func(), _ *refusal) {
	v, _, err := s.member.QuorumGet(ctx, t.tokenPath())
	if err != nil {
		return nil, failed(err)
	}
	gone := &refusal{status: http.StatusNotFound, code: store.KeyNotFound, cause: target{token: t.token}.clientKey(), index: v.Index}
	if !v.Node.Dir || v.Node.Expires != 0 && v.Node.Expires-s.member.Now() < int64(lastMinute) {
		return nil, gone
	}
	known := false
	keys := 0
	for n := range v.All(t.tokenPath()) {
		key := n.Path[len(t.tokenPath())+1:]
		known = known || key == t.key
		if key != configKey && key != sizeKey {
			keys++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !known && keys+s.arriving[t.token] >= s.cfg.KeysMax {
		s.cfg.Observe.Refused(LimitKeys)
		return nil, &refusal{status: http.StatusForbidden, code: tooManyPeers,
			cause: fmt.Sprintf("a token holds no more than %d keys", s.cfg.KeysMax), index: v.Index}
	}
	s.arriving[t.token]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.arriving[t.token]--; s.arriving[t.token] == 0 {
			delete(s.arriving, t.token)
		}
	}, nil
}

// pass has the keys API answer, with the parameters that are named.
func (s *Service) pass(w http.ResponseWriter, r *http.Request, t target, form url.Values, params []string) {
	for _, name := range refusedParams {
		if text := form.Get(name); !slices.Contains(params, name) && text != "" && !isFalse(text) {
			s.refuse(w, notAllowed("the discovery service does not know the parameter "+name))
			return
		}
	}
	kept := make(url.Values)
	for _, name := range params {
		if form.Has(name) {
			kept.Set(name, form.Get(name))
		}
	}
	inner := r.Clone(r.Context())
	inner.URL = &url.URL{Path: "/v2/keys" + t.clientKey()}
	inner.Body, inner.ContentLength = http.NoBody, 0
	inner.Header.Del("Content-Length")
	text := kept.Encode()
	if r.Method != http.MethodPut {
		inner.URL.RawQuery = text
	} else {
		inner.Body, inner.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		inner.Header.Set("Content-Type", formType)
	}
	inner.RequestURI = inner.URL.RequestURI()
	s.keys.ServeHTTP(w, inner)
}

// isFalse tells whether a boolean parameter asks for nothing.
func isFalse(text string) bool {
	v, err := strconv.ParseBool(text)
	return err == nil && !v
}

// formType is the content type of a body that carries parameters.
const formType = "application/x-www-form-urlencoded"

// readForm gathers the parameters of the body and of the query. Those of the body
// come first, as in the keys API.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *refusal) {
	form := make(url.Values)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == formType && r.Method == http.MethodPut {
		rc := http.NewResponseController(w)
		rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // a connection without deadlines is one of a test
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
		if err == nil {
			rc.SetReadDeadline(time.Time{})
			form, err = url.ParseQuery(string(body))
		}
		if err != nil {
			return nil, &refusal{status: http.StatusBadRequest, code: store.InvalidForm, cause: err.Error()}
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, code: store.InvalidForm, cause: err.Error()}
	}
	for name, values := range query {
		form[name] = append(form[name], values...)
	}
	return form, nil
}

// statusOf notes the status of an answer.
type statusOf struct {
	http.ResponseWriter
	status int
}

func (w *statusOf) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusOf) Unwrap() http.ResponseWriter { return w.ResponseWriter }
