package discovery

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"etcd2/membership"
	"etcd2/store"
)

// pageText is the page, pageStyle what it looks like. A browser is told the hash of
// the latter, and to load and run nothing else.
var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string

	page       = template.Must(template.New("page").Parse(pageText))
	pagePolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-" + hash(pageStyle) + "'"
)

// shownMax is the largest size that the page takes for one.
const shownMax = 1000

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// arrivals is what the page shows.
type arrivals struct {
	Style    template.CSS
	Size     int // 0 when the token has none
	Complete bool
	Members  []arrival
	Founders int    // of the members
	Missing  int    // founders still to come
	Left     string // time until the token expires; "" for never
}

// arrival is one member that has registered. Those beyond the size are Surplus:
// they came too late to be founders.
type arrival struct {
	ID, Name string
	URLs     []string
	Surplus  bool
	created  uint64 // etcd index
}

// servePage shows who has arrived.
func (s *Service) servePage(w http.ResponseWriter, r *http.Request, t target) {
	v, _, err := s.member.QuorumGet(context.WithoutCancel(r.Context()), t.tokenPath())
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer") // whoever has the URL can register
	if err != nil {
		refused := failed(err)
		text := "The token could not be read. Try again."
		if refused.status == http.StatusNotFound {
			text = "There is no such token. It may have expired; make a new one with /new?size=N."
		}
		http.Error(w, text, refused.status)
		return
	}
	shown := &arrivals{Style: template.CSS(pageStyle)}
	for n := range v.All(t.tokenPath()) {
		key := n.Path[len(t.tokenPath())+1:]
		switch {
		case key == sizeKey:
			shown.Size = sizeOf(n.Value)
		case key[0] != '_' && !n.Dir:
			shown.Members = append(shown.Members, newArrival(key, n))
		}
	}
	shown.arrange()
	if v.Node.Expires != 0 {
		shown.Left = left(time.Duration(v.Node.Expires - s.member.Now()))
	}
	var out bytes.Buffer
	if err := page.Execute(&out, shown); err != nil {
		s.cfg.Logger.Error("the page could not be made", "error", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.Write(out.Bytes())
}

// arrange puts the members into the order of their arrival, which is what makes
// the first ones founders.
func (a *arrivals) arrange() {
	slices.SortFunc(a.Members, func(x, y arrival) int { return cmp.Compare(x.created, y.created) })
	for i := range a.Members {
		a.Members[i].Surplus = a.Size > 0 && i >= a.Size
	}
	a.Founders = min(a.Size, len(a.Members))
	a.Missing = a.Size - a.Founders
	a.Complete = a.Size > 0 && a.Missing == 0
}

// newArrival reads what a member has registered: name=url,name=url, or, from
// etcd 0.4, whose keys are names, a URL.
func newArrival(key string, n *store.Node) arrival {
	peers, err := membership.ParsePeers(n.Value)
	if err == nil && len(peers) == 1 {
		for name, urls := range peers {
			return arrival{ID: key, Name: name, URLs: urls, created: n.Created}
		}
	}
	return arrival{Name: key, URLs: strings.Split(n.Value, ","), created: n.Created}
}

// sizeOf reads the size of a cluster, which an operator may have written; 0 when it
// is none, or too large to show a line for each.
func sizeOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > shownMax {
		return 0
	}
	return n
}

// left writes the time until the expiry in its largest unit, roughly.
func left(d time.Duration) string {
	count := func(unit time.Duration, name string) string {
		n := int64(d.Round(unit) / unit)
		if n == 1 {
			return "1 " + name
		}
		return strconv.FormatInt(n, 10) + " " + name + "s"
	}
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return count(time.Minute, "minute")
	case d < 48*time.Hour:
		return count(time.Hour, "hour")
	}
	return count(24*time.Hour, "day")
}

// acceptsHTML tells a browser from a program: only the former asks for HTML.
func acceptsHTML(h http.Header) bool {
	for _, list := range h.Values("Accept") {
		for kind := range strings.SplitSeq(list, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			if strings.EqualFold(strings.TrimSpace(kind), "text/html") {
				return true
			}
		}
	}
	return false
}
