package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"etcd2/api/discovery"
)

// tokenTTLMin is the shortest life of a token. A cluster has to be founded within it.
const tokenTTLMin = 10 * time.Minute

// meeting is what flags decide about the discovery service.
type meeting struct {
	URL            string // what tokens are appended to; "" for the host of the request
	TrustForwarded bool
	TokenTTL       time.Duration
	TokensMax      int
	SizeMax        int
	Requests       uint // of one client in a second; 0 for no limit
	Tokens         uint // made by one client in a minute; 0 for no limit
}

func newMeeting() meeting {
	return meeting{TokenTTL: 7 * 24 * time.Hour, TokensMax: 10_000, SizeMax: 32, Requests: 50, Tokens: 10}
}

func (o *options) meetingFlags() []option {
	m := &o.cfg.Meeting
	return []option{
		{name: "enable-discovery-service", value: boolean(&o.cfg.DiscoveryService), usage: "Be a discovery service on the client URLs: GET /new?size=N answers a URL for --discovery of a new cluster."},
		{name: "discovery-service-url", value: text(&m.URL), usage: "URL at which others reach the discovery service; when empty, as each request names it."},
		{name: "discovery-service-trust-forwarded", value: boolean(&m.TrustForwarded), usage: "Believe X-Forwarded-For, -Proto and -Host: only a proxy of yours can reach the client URLs."},
		{name: "discovery-service-token-ttl", value: period(&m.TokenTTL), usage: "Life of a discovery URL, as 24h; at least 10m."},
		{name: "discovery-service-max-tokens", value: count(&m.TokensMax), usage: "Discovery URLs alive at a time."},
		{name: "discovery-service-max-size", value: count(&m.SizeMax), usage: "Largest cluster that a discovery URL may be for."},
		{name: "discovery-service-rate", value: unsigned(&m.Requests), usage: "Requests per second that one client may make at discovery URLs; 0 for no limit."},
		{name: "discovery-service-token-rate", value: unsigned(&m.Tokens), usage: "Discovery URLs per minute that one client may make; 0 for no limit."},
	}
}

// check refuses what no discovery service can be made of.
func (m *meeting) check() error {
	if m.TokenTTL < tokenTTLMin {
		return fmt.Errorf("-discovery-service-token-ttl[%v] should be at least %v", m.TokenTTL, tokenTTLMin)
	}
	if m.URL == "" {
		return nil
	}
	u, err := url.Parse(m.URL)
	if err != nil {
		return fmt.Errorf("-discovery-service-url: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("-discovery-service-url should be an http or https URL with a host and no query: " + m.URL)
	}
	return nil
}

// meetingPlace is the discovery service of this member, which answers with what
// its keys API says.
func (m *running) meetingPlace(keys http.Handler) *discovery.Service {
	c := &m.cfg.Meeting
	return discovery.New(discovery.Config{
		URL:               c.URL,
		TrustForwarded:    c.TrustForwarded,
		TokenTTL:          c.TokenTTL,
		TokensMax:         c.TokensMax,
		SizeMax:           c.SizeMax,
		KeysMax:           max(64, 2*c.SizeMax),
		RequestsPerSecond: perClient(c.Requests),
		TokensPerMinute:   perClient(c.Tokens),
		Observe: discovery.Observer{
			Minted:     m.metrics.ObserveToken,
			Registered: m.metrics.ObserveRegistration,
			Refused:    m.metrics.ObserveLimit,
		},
		Logger: m.log.With(pkgKey, "discovery"),
	}, m.member, keys)
}

// perClient is a rate as package discovery has it, where 0 stands for a default.
func perClient(n uint) float64 { return cmp.Or(float64(n), -1) }

// pagesOnly serves of h what tells about the server, and no keys.
func pagesOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/version", "/health", "/livez", "/readyz", "/metrics":
			h.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}
